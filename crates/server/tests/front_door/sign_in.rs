use http::{Method, StatusCode};
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::app::{TestApp, cookie, is, problem};

#[tokio::test]
async fn a_link_signs_in_once() {
    let app = TestApp::start().await;
    let link = app.running.login_link.expose_secret().to_owned();

    // Whoever looks ahead does not spend it.
    let ahead = app.http.head(&link).send().await.unwrap();
    assert_eq!(ahead.status(), StatusCode::NO_CONTENT);
    let ahead = app
        .http
        .get(&link)
        .header("sec-purpose", "prefetch;prerender")
        .send()
        .await
        .unwrap();
    assert_eq!(ahead.status(), StatusCode::NO_CONTENT);

    let response = app.http.get(&link).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(response.headers()["location"], "/");
    let set = cookie(&response).to_owned();
    assert!(
        set.starts_with("mistle=") && set.ends_with("; Path=/; HttpOnly; SameSite=Lax; Max-Age=2592000"),
        "{set}"
    );

    let pair = set.split(';').next().unwrap();
    let me = app
        .http
        .get(app.api("/me"))
        .header("cookie", pair)
        .send()
        .await
        .unwrap();
    assert_eq!(me.status(), StatusCode::OK);

    let again = app.http.get(&link).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::UNAUTHORIZED);
    assert!(!again.headers().contains_key("set-cookie"));
    assert!(again.text().await.unwrap().contains("mistle login-link"));
}

#[tokio::test]
async fn a_cookie_changes_things_from_our_own_page_only() {
    let app = TestApp::start().await;
    let cookie = app.sign_in().await;
    let create = |origin: Option<String>| {
        let request = app
            .http
            .post(app.api("/tokens"))
            .header("cookie", &cookie)
            .json(&json!({ "name": "x" }));
        origin
            .into_iter()
            .fold(request, |request, origin| request.header("origin", origin))
    };
    for foreign in [None, Some("https://evil.example".to_owned()), Some("null".to_owned())] {
        let response = create(foreign.clone()).send().await.unwrap();
        assert_eq!(problem(response).await, is(403, "foreign-origin"), "{foreign:?}");
    }
    assert_eq!(
        create(Some(app.origin())).send().await.unwrap().status(),
        StatusCode::CREATED
    );
    // Reading needs no origin: another site could not read the answer.
    let read = app
        .http
        .get(app.api("/tokens"))
        .header("cookie", &cookie)
        .send()
        .await
        .unwrap();
    assert_eq!(read.status(), StatusCode::OK);
}

#[tokio::test]
async fn signing_out_ends_the_cookie() {
    let app = TestApp::start().await;
    let cookie = app.sign_in().await;
    let out = app
        .http
        .post(app.api("/logout"))
        .header("cookie", &cookie)
        .header("origin", app.origin())
        .send()
        .await
        .unwrap();
    assert_eq!(out.status(), StatusCode::NO_CONTENT);
    assert_eq!(
        crate::app::cookie(&out),
        "mistle=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"
    );
    let after = app
        .http
        .get(app.api("/me"))
        .header("cookie", &cookie)
        .send()
        .await
        .unwrap();
    assert_eq!(problem(after).await, is(401, "unauthenticated"));
}

#[tokio::test]
async fn wrong_codes_are_limited_and_the_right_one_waits_too() {
    let app = TestApp::start().await;
    for _ in 0..10 {
        let wrong = app.http.get(app.url("/login?code=wrong")).send().await.unwrap();
        assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
    }
    let response = app
        .http
        .get(app.running.login_link.expose_secret())
        .send()
        .await
        .unwrap();
    let wait: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=61).contains(&wait), "{wait}");
    assert_eq!(problem(response).await, is(429, "rate-limited"));
}

#[tokio::test]
async fn what_is_no_credential_lets_nobody_in() {
    let app = TestApp::start().await;
    let cookie = app.sign_in().await;
    for authorization in [
        "Bearer mst_wrong",
        "Bearer",
        "Bearer ",
        "Basic YTpi",
        "mst_wrong",
        &format!("Bearer {}x", app.token()),
    ] {
        // A wrong token is not made good by a good cookie.
        let request = app
            .http
            .get(app.api("/me"))
            .header("authorization", authorization)
            .header("cookie", &cookie);
        assert_eq!(
            problem(request.send().await.unwrap()).await,
            is(401, "unauthenticated"),
            "{authorization}"
        );
    }
    for cookie in [
        "mistle=",
        "mistle=wrong",
        "__Host-mistle=wrong",
        &cookie.replace("mistle=", "other="),
        &format!("{cookie}x"),
    ] {
        let request = app.http.get(app.api("/me")).header("cookie", cookie);
        assert_eq!(
            problem(request.send().await.unwrap()).await,
            is(401, "unauthenticated"),
            "{cookie}"
        );
    }
}

#[tokio::test]
async fn tokens_are_created_listed_in_pages_used_and_revoked() {
    let app = TestApp::start().await;
    let mut ids = Vec::new();
    let mut secret = String::new();
    for number in 0..5 {
        let created = app
            .post("/tokens", &json!({ "name": format!(" token {number} ") }))
            .await;
        assert_eq!(created["token"]["name"], format!("token {number}"));
        ids.insert(0, created["token"]["id"].as_str().unwrap().to_owned());
        created["secret"].as_str().unwrap().clone_into(&mut secret);
    }
    let used = app.http.get(app.api("/me")).bearer_auth(&secret).send().await.unwrap();
    assert_eq!(used.status(), StatusCode::OK);

    let mut listed = Vec::new();
    let mut path = "/tokens?limit=2".to_owned();
    let mut pages = 0;
    loop {
        let page = app.get(&path).await;
        for token in page["data"].as_array().unwrap() {
            assert!(token.get("secret").is_none());
            listed.push(token["id"].as_str().unwrap().to_owned());
        }
        pages += 1;
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/tokens?limit=2&cursor={cursor}");
    }
    // The sixth is the command line's own.
    assert_eq!((pages, listed.len()), (3, 6));
    assert_eq!(listed[..5], ids[..]);
    assert!(app.get("/tokens").await["data"][0]["last_used_at"].is_string());

    let revoked = app
        .request(Method::DELETE, &format!("/tokens/{}", ids[0]))
        .send()
        .await
        .unwrap();
    assert_eq!(revoked.status(), StatusCode::NO_CONTENT);
    let after = app.http.get(app.api("/me")).bearer_auth(&secret).send().await.unwrap();
    assert_eq!(problem(after).await, is(401, "unauthenticated"));
    let again = app
        .request(Method::DELETE, &format!("/tokens/{}", ids[0]))
        .send()
        .await
        .unwrap();
    assert_eq!(problem(again).await, is(404, "not-found"));
}

#[tokio::test]
async fn no_secret_is_stored() {
    let app = TestApp::start().await;
    let cookie = app.sign_in().await;
    let created = app.post("/tokens", &json!({ "name": "x" })).await;
    let secrets = [
        cookie.strip_prefix("mistle=").unwrap().to_owned(),
        created["secret"].as_str().unwrap().to_owned(),
        app.running
            .login_link
            .expose_secret()
            .split_once("code=")
            .unwrap()
            .1
            .to_owned(),
        app.token().to_owned(),
    ];
    for name in ["mistle.db", "mistle.db-wal"] {
        let bytes = std::fs::read(app.data.path().join(name)).unwrap();
        for secret in &secrets {
            assert!(
                !bytes.windows(secret.len()).any(|window| window == secret.as_bytes()),
                "{name}"
            );
        }
    }
}

#[tokio::test]
async fn one_lands_on_the_page_that_was_asked_for() {
    let app = TestApp::start().await;
    let page = "/s/ses_00000000000000000000000000000000?file=a.ts&view=split";
    let get = |url: String| app.http.get(url).header("accept", "text/html");
    let refused = get(app.url(page)).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let kept = refused.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(kept.contains("; Path=/login; HttpOnly; SameSite=Lax"), "{kept}");
    let link = app.running.login_link.expose_secret().to_owned();
    let pair = kept.split(';').next().unwrap();
    let landed = get(link).header("cookie", pair).send().await.unwrap();
    assert_eq!(landed.headers()["location"], page);
    let cookies: Vec<_> = landed.headers().get_all("set-cookie").iter().collect();
    assert!(
        cookies
            .iter()
            .any(|cookie| cookie.to_str().unwrap().starts_with("mistle-next=;"))
    );

    let database = format!("sqlite://{}", app.data.path().join("mistle.db").display());
    let store = mistle_store::Store::connect(&database).await.unwrap();
    // A link that names its page; and one that was made to lead elsewhere.
    for (next, to) in [
        ("/settings", "/settings"),
        ("//evil.example", "/"),
        ("https://evil.example/s/x", "/"),
    ] {
        let url = format!("http://{}/", app.running.address).parse().unwrap();
        let link = mistle_server::auth::login::new_link(&store, &url, Some(next))
            .await
            .unwrap();
        let landed = app.http.get(link.expose_secret()).send().await.unwrap();
        assert_eq!(landed.headers()["location"], to);
    }
}
