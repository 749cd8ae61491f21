use std::{future::Future, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::any;

pub(crate) struct Broker {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Broker {
    pub(crate) async fn new<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::at(any(), serve).await
    }

    pub(crate) async fn at<F>(address: SocketAddr, serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream));
            }
        });
        Self { address, task }
    }

    /// Closes its half after the device's.
    pub(crate) async fn echo() -> Self {
        Self::new(|mut stream| async move {
            let (mut from, mut to) = stream.split();
            let _ = tokio::io::copy(&mut from, &mut to).await;
            let _ = to.shutdown().await;
        })
        .await
    }

    /// Sends its name after the first bytes.
    pub(crate) async fn named(name: &'static str) -> Self {
        Self::named_at(any(), name).await
    }

    pub(crate) async fn named_at(address: SocketAddr, name: &'static str) -> Self {
        Self::at(address, move |mut stream| async move {
            let mut first = [0; 1024];
            let _ = stream.read(&mut first).await;
            let _ = stream.write_all(name.as_bytes()).await;
        })
        .await
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.task.abort();
    }
}
