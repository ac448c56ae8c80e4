//! Access control: programs of this machine may send requests, pages of the web may not.
//!
//! A page in a browser can send requests to loopback addresses: under a name that resolves to one (DNS rebinding),
//! which shows in `Host`, or from its own site, which shows in `Origin`. Both are refused. A GET of a page (an image, a
//! form, a `no-cors` fetch) has no `Origin`; it cannot read the answer, but it would start the work. Browsers give the
//! origin of such a request in `Sec-Fetch-Site`.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::problem::{Kind, Problem};

/// The initiator of a request, as sent by browsers; programs do not send it (W3C, Fetch Metadata).
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Passes a request on, or refuses it.
pub(super) async fn check(request: Request, next: Next) -> Response {
    match judge(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn judge(uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().map(|host| host.to_str().unwrap_or_default());
    let said = uri.authority().map(Authority::as_str).or(host).unwrap_or_default();
    let authority: Option<Authority> = said.parse().ok().filter(|_| hosts.next().is_none());
    let Some(authority) = authority.filter(is_this_machine) else {
        return Err(Problem::new(
            Kind::ForeignHost,
            format!("the host `{said}` is not this machine: ask for localhost or 127.0.0.1"),
        ));
    };
    judge_site(headers)?;
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let own = format!("http://{authority}");
    if origin.as_bytes().eq_ignore_ascii_case(own.as_bytes()) {
        return Ok(());
    }
    Err(Problem::new(
        Kind::ForeignOrigin,
        format!("the origin is not {own}: pages of other sites may not ask this node"),
    ))
}

/// Admits this node's own pages, and URLs typed or bookmarked by a person (`none`). Another port of this machine is
/// another origin of the same site.
fn judge_site(headers: &HeaderMap) -> Result<(), Problem> {
    let own = |site: &&HeaderValue| [&b"same-origin"[..], b"none"].contains(&site.as_bytes());
    match headers.get_all(SEC_FETCH_SITE).iter().find(|site| !own(site)) {
        None => Ok(()),
        Some(site) => Err(Problem::new(
            Kind::ForeignOrigin,
            format!(
                "the browser says that the request comes from elsewhere (Sec-Fetch-Site: {}): pages of other sites may \
                 not ask this node",
                site.as_bytes().escape_ascii()
            ),
        )),
    }
}

fn is_this_machine(authority: &Authority) -> bool {
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let is_loopback = host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    !authority.as_str().contains('@') && (host.eq_ignore_ascii_case("localhost") || is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(uri: &str, headers: &[(header::HeaderName, &str)]) -> bool {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        judge(&uri.parse().unwrap(), &headers).is_ok()
    }

    #[test]
    fn this_machine_is_let_in() {
        for host in ["localhost", "LOCALHOST:7387", "127.0.0.1:7387", "127.8.8.8", "[::1]:7387"] {
            assert!(passes("/livez", &[(header::HOST, host)]), "{host}");
            let origin = format!("http://{host}");
            assert!(passes("/livez", &[(header::HOST, host), (header::ORIGIN, &origin)]), "{host}");
        }
    }

    #[test]
    fn others_are_not() {
        for host in
            ["", "evil.example", "localhost.evil.example", "10.0.0.1", "127.0.0.1@evil.example", "[::2]"]
        {
            assert!(!passes("/livez", &[(header::HOST, host)]), "{host}");
        }
        assert!(!passes("/livez", &[]));
        assert!(!passes("http://evil.example/livez", &[(header::HOST, "localhost")]));
        for origin in ["null", "http://evil.example", "http://localhost", "https://localhost:7387"] {
            let headers = [(header::HOST, "localhost:7387"), (header::ORIGIN, origin)];
            assert!(!passes("/livez", &headers), "{origin}");
        }
    }

    #[test]
    fn what_a_browser_sends_for_another_site_is_not_let_in() {
        let passes = |sites: &[&str]| {
            let mut headers = HeaderMap::new();
            headers.append(header::HOST, "localhost:7387".parse().unwrap());
            for site in sites {
                headers.append(SEC_FETCH_SITE, site.parse().unwrap());
            }
            judge(&Uri::from_static("/livez"), &headers).is_ok()
        };
        assert!(passes(&[]) && passes(&["same-origin"]) && passes(&["none"]));
        for sites in [&["cross-site"][..], &["same-site"], &[""], &["other"], &["none", "cross-site"]] {
            assert!(!passes(sites), "{sites:?}");
        }
    }

    #[test]
    fn one_host_only() {
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, "localhost".parse().unwrap());
        headers.append(header::HOST, "localhost".parse().unwrap());
        assert!(judge(&Uri::from_static("/livez"), &headers).is_err());
    }
}
