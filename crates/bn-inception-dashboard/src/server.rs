//! The web server: three static files, a stream of events, the data of charts and a stop button.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_io_timeout::TimeoutStream;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;

use crate::access::{Access, Answer};
use crate::connections::{Connections, Streams};
use crate::page::{ASSETS, Asset, SERVED_POLICY};
use crate::query::{self, CurvesQuery, DetailsQuery, ExcerptQuery};
use crate::runs::Runs;
use crate::stream;

/// Time limit for a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for which a client may take nothing of what it is sent.
const WRITE_TIMEOUT: Duration = if cfg!(test) { Duration::from_secs(1) } else { Duration::from_secs(20) };

/// Action of the stop button.
pub type StopAction = Box<dyn Fn() + Send + Sync>;

/// State shared by the handlers.
pub struct Site {
    pub access: Access,
    pub runs: Arc<Runs>,
    /// Stops the run of this process, if it trains one.
    pub on_stop: Option<StopAction>,
    pub streams: Streams,
    /// Permits to read a log again, which leaves the rest of the processor to a training.
    pub readers: Semaphore,
    /// Distinguishes this server from an earlier one at the same address.
    pub session: u64,
    /// Becomes true when everything was read and the streams are to end.
    pub closing: watch::Receiver<bool>,
}

impl Site {
    /// True if pages get a stop button.
    fn can_stop(&self) -> bool {
        self.on_stop.is_some() && self.access.token.is_some()
    }
}

/// Accepts connections until the site closes.
pub async fn serve(listener: TcpListener, site: Arc<Site>) {
    let mut connections = Connections::default();
    let mut closing = site.closing.clone();
    let router = router(site);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = connections.reap(), if !connections.is_empty() => continue,
            _ = closing.wait_for(|closing| *closing) => break,
        };
        let Ok((socket, client)) = accepted else {
            // Out of file descriptors, say, which is temporary.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let mut socket = TimeoutStream::new(socket);
        socket.set_write_timeout(Some(WRITE_TIMEOUT));
        let service = TowerToHyperService::new(router.clone().layer(Extension(client.ip())));
        connections.spawn(client.ip(), async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .max_buf_size(64 << 10)
                .serve_connection(TokioIo::new(Box::pin(socket)), service);
            // A client may break off at any time.
            let _ = connection.await;
        });
    }
    // Streams send the rest and end, unless their client does not read.
    let _ = tokio::time::timeout(Duration::from_secs(1), connections.ended()).await;
}

fn router(site: Arc<Site>) -> Router {
    let mut router = Router::new()
        .route("/events", get(events))
        .route("/curves", post(curves))
        .route("/details", post(details))
        .route("/excerpt", post(excerpt))
        .route("/stop", post(stop));
    for asset in ASSETS.iter() {
        router = router.route(asset.path, get(async |headers: HeaderMap| file(asset, &headers)));
    }
    router
        .fallback(async || (StatusCode::NOT_FOUND, "there is no such page\n"))
        .layer(middleware::from_fn_with_state(site.clone(), guard))
        // Events, too: the summaries of many runs have much in common.
        .layer(CompressionLayer::new().compress_when(SizeAbove::new(256)))
        .with_state(site)
}

/// Refuses requests that are not for this server, and adds the headers that confine the page.
async fn guard(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let mut response = match site.access.check_origin(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    let headers = [
        ("content-security-policy", SERVED_POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cache-control", "no-cache"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn file(asset: &'static Asset, headers: &HeaderMap) -> Response {
    let tag = format!("\"{}\"", asset.digest);
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known == &tag) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
    }
    let headers = [(header::CONTENT_TYPE, asset.mime.to_owned()), (header::ETAG, tag)];
    (headers, asset.text.as_str()).into_response()
}

async fn events(
    State(site): State<Arc<Site>>,
    Extension(client): Extension<IpAddr>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Answer> {
    site.access.check_token(&headers)?;
    let permit = match site.streams.admit(client) {
        Ok(permit) => permit,
        Err((most, of_one)) => {
            let whose = if of_one { " from this address" } else { "" };
            let text = format!("{most} pages are open already{whose}; close one and try again\n");
            let headers = [(header::RETRY_AFTER, "5"), (header::CONNECTION, "close")];
            return Ok((StatusCode::SERVICE_UNAVAILABLE, headers, text).into_response());
        }
    };
    let older = uri.query().and_then(|query| query.strip_prefix("older=")?.parse().ok()).unwrap_or(0);
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64());
    let greeting = json!({ "can_stop": site.can_stop(), "session": site.session, "time": time }).to_string();
    let events = stream::events(site.runs.clone(), greeting, older, site.closing.clone(), permit);
    Ok(events.into_response())
}

async fn curves(State(site): State<Arc<Site>>, headers: HeaderMap, body: Bytes) -> Result<Response, Answer> {
    site.access.check_token(&headers)?;
    let query: CurvesQuery = query::parse(&body)?;
    Ok(json(query.answer(&site.runs)))
}

async fn details(State(site): State<Arc<Site>>, headers: HeaderMap, body: Bytes) -> Result<Response, Answer> {
    site.access.check_token(&headers)?;
    let query: DetailsQuery = query::parse(&body)?;
    Ok(json(query.answer(&site.runs)))
}

async fn excerpt(State(site): State<Arc<Site>>, headers: HeaderMap, body: Bytes) -> Result<Response, Answer> {
    site.access.check_token(&headers)?;
    let query: ExcerptQuery = query::parse(&body)?;
    let _permit = site.readers.acquire().await;
    let runs = site.runs.clone();
    let read = tokio::task::spawn_blocking(move || query.answer(&runs)).await;
    Ok(json(read.unwrap_or_else(|_| query::NOTHING.to_owned())))
}

fn json(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

async fn stop(State(site): State<Arc<Site>>, headers: HeaderMap) -> Result<Answer, Answer> {
    site.access.check_token(&headers)?;
    match &site.on_stop {
        Some(stop) if site.can_stop() => {
            stop();
            Ok((StatusCode::ACCEPTED, "the run saves a checkpoint and stops\n"))
        }
        Some(_) => Err((StatusCode::FORBIDDEN, "stopping wants a dashboard that was started with a token\n")),
        None => Err((StatusCode::CONFLICT, "this dashboard only watches; stop the run where it was started\n")),
    }
}
