//! Access to the dashboard: only from its own page, by a name of this machine, with the token if there is one.

use std::net::IpAddr;

use axum::http::{HeaderMap, StatusCode, header};
use subtle::ConstantTimeEq as _;

/// Status and text of an answer.
pub type Answer = (StatusCode, &'static str);

/// The rules for requests.
#[derive(Debug, Clone)]
pub struct Access {
    /// Accepted host names in lower case, besides `localhost`.
    pub names: Vec<String>,
    /// Address bound; an unspecified one stands for all of the machine's.
    pub bound: IpAddr,
    /// Token that a request for data must carry.
    pub token: Option<String>,
}

impl Access {
    /// True if the `Host` header names this server. A foreign page whose name was made to resolve to this machine (DNS
    /// rebinding) still sends its own name, and is refused.
    fn knows_host(&self, host: &str) -> bool {
        let name = without_port(host);
        let literal = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
        match literal.parse::<IpAddr>() {
            // An address is never looked up, so it cannot be rebound.
            Ok(address) => address.is_loopback() || address == self.bound || self.bound.is_unspecified(),
            Err(_) => {
                let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
                name == "localhost" || self.names.contains(&name)
            }
        }
    }

    /// Checks the `Host` and `Sec-Fetch-*` headers.
    ///
    /// # Errors
    /// 421 or 403, with one line that says what to do.
    pub fn check_origin(&self, headers: &HeaderMap) -> Result<(), Answer> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        if !text(header::HOST).is_some_and(|host| self.knows_host(host)) {
            return Err((
                StatusCode::MISDIRECTED_REQUEST,
                "this server answers to localhost and to the address it was told to listen on, \
                 and to no other Host\n",
            ));
        }
        // Browsers tell which site a request comes from; a foreign one may open the page and nothing else.
        let site = headers.get("sec-fetch-site");
        let foreign = site.is_some_and(|site| site == "cross-site" || site == "same-site");
        let navigates = headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate");
        if foreign && !navigates {
            return Err((StatusCode::FORBIDDEN, "only the dashboard's own page may ask\n"));
        }
        Ok(())
    }

    /// Checks the token, if one is set, in constant time.
    ///
    /// # Errors
    /// 401, with one line that says what to do.
    pub fn check_token(&self, headers: &HeaderMap) -> Result<(), Answer> {
        let Some(token) = &self.token else {
            return Ok(());
        };
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        match given {
            Some(given) if bool::from(given.ct_eq(token.as_bytes())) => Ok(()),
            Some(_) => Err((StatusCode::UNAUTHORIZED, "wrong token\n")),
            None => Err((
                StatusCode::UNAUTHORIZED,
                "this dashboard wants its token: open the address that was printed when it started\n",
            )),
        }
    }
}

/// `name` of `name:port`; colons within brackets belong to an address.
fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(bound: &str) -> Access {
        Access { names: vec!["gpubox".into()], bound: bound.parse().unwrap(), token: Some("correct horse".into()) }
    }

    #[test]
    fn hosts() {
        let table = [
            ("localhost", true),
            ("LOCALHOST:8015", true),
            ("localhost.:8015", true),
            ("127.0.0.1:8015", true),
            ("127.8.9.1", true),
            ("[::1]:8015", true),
            ("[::1]", true),
            ("192.168.1.5:8015", true),
            ("gpubox:1", true),
            ("192.168.1.6:8015", false),
            ("evil.example", false),
            ("localhost.evil.example:8015", false),
            ("127.0.0.1.evil.example", false),
            ("evil.example:127.0.0.1", false),
            ("", false),
            (":8015", false),
        ];
        for (host, known) in table {
            assert_eq!(access("192.168.1.5").knows_host(host), known, "{host}");
        }
        assert!(access("0.0.0.0").knows_host("192.168.1.6:8015"));
        assert!(!access("0.0.0.0").knows_host("evil.example"));
    }

    #[test]
    fn tokens() {
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            access("127.0.0.1").check_token(&headers).is_ok()
        };
        assert!(with("Bearer correct horse"));
        for wrong in ["Bearer correct hors", "Bearer correct horse ", "Bearer ", "Basic correct horse", "correct horse"]
        {
            assert!(!with(wrong), "{wrong}");
        }
        assert!(access("127.0.0.1").check_token(&HeaderMap::new()).is_err());
        let open = Access { token: None, ..access("127.0.0.1") };
        assert!(open.check_token(&HeaderMap::new()).is_ok());
    }

    #[test]
    fn another_site_may_open_the_page_but_not_read() {
        let check = |site: &str, mode: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "localhost".parse().unwrap());
            headers.insert("sec-fetch-site", site.parse().unwrap());
            headers.insert("sec-fetch-mode", mode.parse().unwrap());
            access("127.0.0.1").check_origin(&headers).is_ok()
        };
        assert!(check("same-origin", "cors"));
        assert!(check("none", "navigate"));
        assert!(check("cross-site", "navigate"));
        assert!(!check("cross-site", "no-cors"));
        assert!(!check("same-site", "cors"));
        assert!(access("127.0.0.1").check_origin(&HeaderMap::new()).is_err());
    }
}
