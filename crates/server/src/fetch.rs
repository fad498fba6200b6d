//! Reading from other servers: revocation lists, answers of OCSP responders, the keys of an issuer of tokens.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hub::BoxFuture;
use hub::fetch::{Fetch, FetchError, Wanted};
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Url};

/// Time until a connection stands.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// Time from the request to the last byte of the answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why nothing can be fetched at all. The operator's to mend.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the trusted authorities {}: {reason}; give a PEM file", path.display())]
pub struct FetcherError {
    path: PathBuf,
    reason: String,
}

/// Fetches over HTTP and HTTPS.
#[derive(Debug)]
pub(crate) struct Fetcher {
    /// Those to trust instead of the system's.
    authorities: Option<Vec<Certificate>>,
    /// Made when it is first needed: most servers never ask another one, and the system's authorities cost memory and time.
    client: OnceLock<Result<Client, String>>,
}

impl Fetcher {
    /// Trusts the system's authorities, or those of a PEM file alone when one is given. Follows no redirect and uses no proxy of the
    /// environment: what is asked of whom is in the configuration.
    pub(crate) fn new(authorities: Option<&Path>) -> Result<Self, FetcherError> {
        Ok(Self {
            authorities: authorities.map(read_authorities).transpose()?,
            client: OnceLock::new(),
        })
    }

    fn client(&self) -> Result<&Client, String> {
        let made = self.client.get_or_init(|| {
            let mut builder = Client::builder()
                .connect_timeout(CONNECT_PATIENCE)
                .timeout(PATIENCE)
                .redirect(Policy::none())
                .no_proxy()
                .user_agent(concat!("ironhub/", env!("CARGO_PKG_VERSION")));
            if let Some(authorities) = &self.authorities {
                builder = builder.tls_certs_only(authorities.iter().cloned());
            }
            builder.build().map_err(|error| chain(&error))
        });
        made.as_ref().map_err(Clone::clone)
    }

    async fn read(&self, wanted: Wanted<'_>) -> Result<Bytes, FetchError> {
        let url = Url::parse(wanted.url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or_else(|| FetchError::Address(wanted.url.to_owned()))?;
        let client = self.client().map_err(|reason| FetchError::Unreachable {
            url: wanted.url.to_owned(),
            reason,
        })?;
        let request = match wanted.post {
            None => client.get(url),
            Some((media_type, body)) => client
                .post(url)
                .header(CONTENT_TYPE, media_type)
                .body(body.to_vec()),
        };
        let request = match wanted.patience {
            Some(patience) => request.timeout(patience.min(PATIENCE)),
            None => request,
        };
        let unreachable = |error: reqwest::Error| FetchError::Unreachable {
            url: wanted.url.to_owned(),
            reason: chain(&error.without_url()),
        };
        let mut answer = request.send().await.map_err(unreachable)?;
        if !answer.status().is_success() {
            return Err(FetchError::Refused {
                url: wanted.url.to_owned(),
                status: answer.status().as_u16(),
            });
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > wanted.bytes_max {
                return Err(FetchError::TooLarge {
                    url: wanted.url.to_owned(),
                    bytes_max: wanted.bytes_max,
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

impl Fetch for Fetcher {
    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> BoxFuture<'a, Result<Bytes, FetchError>> {
        Box::pin(self.read(wanted))
    }
}

fn read_authorities(path: &Path) -> Result<Vec<Certificate>, FetcherError> {
    let unreadable = |reason: String| FetcherError {
        path: path.to_owned(),
        reason,
    };
    let pem = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    let trusted = Certificate::from_pem_bundle(&pem).map_err(|error| unreadable(error.to_string()))?;
    if trusted.is_empty() {
        return Err(unreadable("it holds no certificate".to_owned()));
    }
    Ok(trusted)
}

/// An error with its causes: the outermost alone says no more than that a request failed.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// Answers one request with these bytes.
    async fn server(answer: &'static str) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/list.crl", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let mut head = [0; 1_024];
            let _ = tcp.read(&mut head).await.unwrap();
            tcp.write_all(answer.as_bytes()).await.unwrap();
        });
        url
    }

    #[tokio::test]
    async fn who_is_impatient_waits_no_longer() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let fetcher = Fetcher::new(None).unwrap();
        let wanted = Wanted::post(&url, "text/plain", b"?", 4).within(Duration::from_millis(50));
        let silent = tokio::time::timeout(PATIENCE / 2, fetcher.fetch(wanted))
            .await
            .unwrap();
        assert!(
            matches!(silent, Err(FetchError::Unreachable { .. })),
            "{silent:?}"
        );
    }

    #[tokio::test]
    async fn answers_are_read_and_refusals_told_apart() {
        let fetcher = Fetcher::new(None).unwrap();
        let url = server("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
        assert_eq!(fetcher.fetch(Wanted::get(&url, 5)).await.unwrap(), "hello");
        let url = server("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
        let large = fetcher.fetch(Wanted::get(&url, 4)).await;
        assert!(matches!(large, Err(FetchError::TooLarge { .. })), "{large:?}");
        let url =
            server("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n").await;
        let moved = fetcher.fetch(Wanted::get(&url, 4)).await;
        assert!(
            matches!(moved, Err(FetchError::Refused { status: 302, .. })),
            "{moved:?}"
        );
        let gone = fetcher.fetch(Wanted::get("http://127.0.0.1:1/", 4)).await;
        assert!(matches!(gone, Err(FetchError::Unreachable { .. })), "{gone:?}");
        let other = fetcher.fetch(Wanted::get("file:///etc/passwd", 4)).await;
        assert!(matches!(other, Err(FetchError::Address(_))), "{other:?}");
    }
}
