//! A server that says exactly what it is told to say, and keeps what it heard.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A server of one answer. Everything up to an empty line counts as a request.
pub(super) struct Raw {
    pub(super) address: SocketAddr,
    opened: Arc<AtomicUsize>,
    closed: Arc<AtomicUsize>,
    heard: Arc<Mutex<Vec<u8>>>,
    task: JoinHandle<()>,
}

impl Raw {
    pub(super) async fn start(answer: impl Into<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (opened, closed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let answer = Arc::new(answer.into());
        let (counted, ended, log) = (Arc::clone(&opened), Arc::clone(&closed), Arc::clone(&heard));
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                let (ended, log, answer) = (Arc::clone(&ended), Arc::clone(&log), Arc::clone(&answer));
                tokio::spawn(async move {
                    let mut request = Vec::new();
                    let mut buffer = [0; 4096];
                    loop {
                        let count = stream.read(&mut buffer).await.unwrap_or(0);
                        if count == 0 {
                            break;
                        }
                        log.lock().unwrap().extend_from_slice(&buffer[..count]);
                        request.extend_from_slice(&buffer[..count]);
                        while let Some(end) = request.windows(4).position(|it| it == b"\r\n\r\n") {
                            request.drain(..end + 4);
                            if stream.write_all(answer.as_bytes()).await.is_err() {
                                break;
                            }
                        }
                    }
                    ended.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, opened, closed, heard, task }
    }

    pub(super) fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }

    pub(super) fn closed(&self) -> usize {
        self.closed.load(Ordering::SeqCst)
    }

    /// The bytes that clients sent.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.heard.lock().unwrap().clone()
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.task.abort();
    }
}
