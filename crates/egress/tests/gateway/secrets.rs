//! Nothing that the gateway logs holds a key, however much is logged.

use std::io::Write;
use std::sync::{Arc, Mutex};

use crate::sandbox::{Sandbox, canned, policy, provider};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use tracing_subscriber::filter::LevelFilter;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_log_line_holds_a_key() {
    const KEY: &str = "sk-topsecret-4711";
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .init();
    let (address, mut requests) = canned("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let mut sandbox = Sandbox::new(&[], Arc::default(), policy(&[], Some(provider(address, KEY)))).await;
    for _ in 0..2 {
        let mut sender = sandbox.model("demo.model.mistle.internal").await;
        let request = Request::builder()
            .method("POST")
            .uri("/v1/responses")
            .header("host", "demo.model.mistle.internal");
        let response = sender
            .send_request(request.body(Full::<Bytes>::default()).unwrap())
            .await
            .unwrap();
        response.into_body().collect().await.unwrap();
        assert!(requests.recv().await.unwrap().contains(KEY), "the key was sent");
        let record = sandbox.record().await;
        tracing::info!(policy = ?sandbox.policy, gateway = ?sandbox.gateway, ?record, "state");
    }
    let text = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(text.contains("a model answers"), "the log was collected");
    assert!(
        !text.contains("topsecret"),
        "{}",
        text.lines().find(|line| line.contains("topsecret")).unwrap()
    );
}
