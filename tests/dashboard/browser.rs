//! A headless Chromium, driven over its DevTools protocol.

use std::cell::{Cell, RefCell};
use std::env;
use std::io;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bn_inception_tests::missing;
use serde_json::{Value, json};
use tempfile::TempDir;
use tungstenite::{Message, WebSocket};

use crate::process::{Running, value_after};

/// Time limit of every wait, generous enough for a busy machine: it is reached only if the event never comes.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Names of the program, besides that in the environment variable `CHROME`.
const PROGRAMS: [&str; 5] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

const ARGUMENTS: [&str; 14] = [
    "--headless",
    "--remote-debugging-port=0",
    "--window-size=1280,900",
    // Chromium's own sandbox and its use of /dev/shm need privileges that a container lacks.
    "--no-sandbox",
    "--disable-dev-shm-usage",
    // Background pages are tested, too.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    // No activity of the browser's own.
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-gpu",
];

/// A browser that is closed with the test.
pub struct Browser {
    connection: Connection,
    /// `ws://127.0.0.1:PORT/devtools/`.
    address: String,
    _process: Running,
    _profile: TempDir,
}

impl Browser {
    /// Starts the browser. `None` if none is installed, which is reported on standard error.
    pub fn start() -> Option<Self> {
        let profile = tempfile::tempdir().unwrap();
        let mut child = launch(&profile)?;
        let output = child.stderr.take().unwrap();
        let process = Running(child);
        let url = value_after("DevTools listening on ", output);
        let (address, _) = url.split_once("browser/").unwrap();
        Some(Self {
            connection: Connection::open(&url),
            address: address.to_owned(),
            _process: process,
            _profile: profile,
        })
    }

    /// Opens `url` in a new tab and runs `script` there before any other.
    pub fn open(&self, url: &str, script: &str) -> Tab {
        let target = self.connection.call("Target.createTarget", json!({ "url": "about:blank" }));
        let id = target["targetId"].as_str().unwrap();
        let tab = Tab(Connection::open(&format!("{}page/{id}", self.address)));
        tab.0.call("Page.enable", json!({}));
        let source = json!({ "source": script });
        tab.0.call("Page.addScriptToEvaluateOnNewDocument", source);
        tab.0.call("Page.navigate", json!({ "url": url }));
        tab.0.receive(|message| message["method"] == "Page.loadEventFired");
        tab
    }
}

fn launch(profile: &TempDir) -> Option<Child> {
    let programs = env::var("CHROME").into_iter();
    for program in programs.chain(PROGRAMS.map(str::to_owned)) {
        let mut command = Command::new(&program);
        command.args(ARGUMENTS).stderr(Stdio::piped());
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        match command.spawn() {
            Ok(child) => return Some(child),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => panic!("{program}: {error}"),
        }
    }
    missing("browser", "neither Chromium nor Chrome is installed");
    None
}

/// An open page.
pub struct Tab(Connection);

impl Tab {
    /// The value of a JavaScript expression; of a promise, the value it resolves to.
    pub fn evaluate(&self, expression: &str) -> Value {
        let mut answer = self
            .0
            .call("Runtime.evaluate", json!({ "expression": expression, "awaitPromise": true, "returnByValue": true }));
        let exception = &answer["exceptionDetails"];
        assert!(exception.is_null(), "{expression}: {exception}");
        answer["result"]["value"].take()
    }

    /// Waits until `condition` holds on the page.
    pub fn wait_for(&self, condition: &str) {
        let begun = Instant::now();
        while self.evaluate(&format!("Boolean({condition})")) != Value::Bool(true) {
            assert!(
                begun.elapsed() < PATIENCE,
                "{condition} does not become true; the page says {} and shows {}",
                self.evaluate("wrong.join()"),
                self.evaluate("document.body.innerText.slice(0, 1500)"),
            );
            sleep(Duration::from_millis(200));
        }
    }

    /// Gives the page another size.
    pub fn resize(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.0.call("Emulation.setDeviceMetricsOverride", size);
    }

    /// The whole page as a PNG file.
    pub fn picture(&self) -> Vec<u8> {
        let options = json!({ "captureBeyondViewport": true });
        self.decoded("Page.captureScreenshot", options)
    }

    /// The page on paper, as a PDF file.
    pub fn print(&self) -> Vec<u8> {
        self.decoded("Page.printToPDF", json!({ "printBackground": true }))
    }

    fn decoded(&self, method: &str, options: Value) -> Vec<u8> {
        let answer = self.0.call(method, options);
        STANDARD.decode(answer["data"].as_str().unwrap()).unwrap()
    }

    /// Brings the page to the front.
    pub fn bring_to_front(&self) {
        self.0.call("Page.bringToFront", json!({}));
    }

    /// Closes the page.
    pub fn close(self) {
        self.0.call("Page.close", json!({}));
    }
}

/// A connection to the browser or to one of its pages.
struct Connection {
    socket: RefCell<WebSocket<TcpStream>>,
    calls: Cell<u64>,
}

impl Connection {
    fn open(url: &str) -> Self {
        let (host, _) = url["ws://".len()..].split_once('/').unwrap();
        let stream = TcpStream::connect(host).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (socket, _) = tungstenite::client(url, stream).unwrap();
        Self { socket: RefCell::new(socket), calls: Cell::new(0) }
    }

    /// Calls a method of the protocol and returns its result.
    fn call(&self, method: &str, parameters: Value) -> Value {
        let id = self.calls.get() + 1;
        self.calls.set(id);
        let message = json!({ "id": id, "method": method, "params": parameters }).to_string();
        let sent = self.socket.borrow_mut().send(Message::text(message));
        sent.unwrap();
        let mut answer = self.receive(|message| message["id"] == id);
        assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
        answer["result"].take()
    }

    /// The next message that is `wanted`; others are discarded.
    fn receive(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self.socket.borrow_mut().read().unwrap();
            if let Message::Text(text) = message {
                let message: Value = serde_json::from_str(&text).unwrap();
                if wanted(&message) {
                    return message;
                }
            }
        }
    }
}
