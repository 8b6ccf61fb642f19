//! Services that are not what they should be.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Takes connections and never says a word.
pub(crate) async fn silent(listener: TcpListener) -> anyhow::Result<()> {
    let mut kept = Vec::new();
    loop {
        kept.push(listener.accept().await?);
    }
}

/// Speaks HTTP/1.1, whatever it is asked.
pub(crate) async fn http(listener: TcpListener) -> anyhow::Result<()> {
    loop {
        let (mut stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            let _ = stream.read(&mut [0; 64]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        });
    }
}

/// Speaks gRPC, in messages that are none.
pub(crate) async fn nonsense(listener: TcpListener) -> anyhow::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let service = service_fn(|_: hyper::Request<hyper::body::Incoming>| async {
            let message = Bytes::from_static(b"\0\0\0\0\x05\xff\xff\xff\xff\xff");
            let mut answer = hyper::Response::new(Full::new(message));
            let type_ = http::HeaderValue::from_static("application/grpc");
            answer.headers_mut().insert(http::header::CONTENT_TYPE, type_);
            Ok::<_, Infallible>(answer)
        });
        let http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        tokio::spawn(http2.serve_connection(TokioIo::new(stream), service));
    }
}
