use http::StatusCode;

use crate::app::{TestApp, is, problem};

#[tokio::test]
async fn a_visitor_who_is_not_signed_in_is_told_how_to() {
    let app = TestApp::start().await;
    for path in ["/", "/new", "/deleted", "/s/ses_1", "/settings/tokens"] {
        let response = app.http.get(app.url(path)).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{path}");
        assert!(response.text().await.unwrap().contains("mistle login-link"));
    }
    let login = app.http.get(app.url("/login")).send().await.unwrap();
    assert_eq!(login.status(), StatusCode::OK);
    let cookie = app.sign_in().await;
    let page = app
        .http
        .get(app.url("/s/ses_1"))
        .header("cookie", cookie)
        .send()
        .await
        .unwrap();
    // The page itself, or how to build it when this program was built without it.
    assert!(matches!(page.status(), StatusCode::OK | StatusCode::NOT_FOUND));
    assert!(page.text().await.unwrap().contains("<title>Mistle</title>"));
}

#[tokio::test]
async fn health_and_metrics() {
    let app = TestApp::start().await;
    let health = app.http.get(app.url("/healthz")).send().await.unwrap();
    assert_eq!(health.text().await.unwrap(), "ok\n");

    let metrics = app
        .http
        .get(app.url("/metrics"))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        metrics.contains("mistle_http_requests_total{method=\"GET\",route=\"/healthz\",status=\"200\"} 1"),
        "{metrics}"
    );

    // A name that another site made resolve to this machine, and a proxy's visitors.
    for (name, value) in [("host", "evil.example:80"), ("x-forwarded-for", "192.0.2.1")] {
        let refused = app
            .http
            .get(app.url("/metrics"))
            .header(name, value)
            .send()
            .await
            .unwrap();
        assert_eq!(problem(refused).await, is(401, "unauthenticated"), "{name}");
        let allowed = app
            .http
            .get(app.url("/metrics"))
            .header(name, value)
            .bearer_auth(app.token())
            .send()
            .await
            .unwrap();
        assert_eq!(allowed.status(), StatusCode::OK, "{name}");
    }
}

#[tokio::test]
async fn answers_are_compressed_for_those_who_ask() {
    let app = TestApp::start().await;
    let request = app.http.get(app.api("/openapi.json")).header("accept-encoding", "gzip");
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
}
