use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::KeyPair;
use serde_json::{Value, json};

use super::*;

const NOW: i64 = 1_900_000_000;

/// What a verifier answers, by subject of the token; everybody else is unknown.
#[derive(Clone, Default)]
struct Book {
    answers: Arc<Mutex<BTreeMap<String, Result<Bearer, Unverified>>>>,
    asked: Arc<AtomicUsize>,
}

impl Book {
    fn say(&self, subject: &str, answer: Result<Bearer, Unverified>) {
        self.answers.lock().unwrap().insert(subject.to_owned(), answer);
    }

    fn accept(&self, subject: &str) {
        let expires = Timestamp::from_second(NOW + 3600).unwrap();
        let bearer =
            Bearer { account: ServiceAccount(subject.to_owned()), pod: Some("pod-1".into()), expires };
        self.say(subject, Ok(bearer));
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

#[tonic::async_trait]
impl Verify for Book {
    async fn verify(&self, _token: &str, claims: &Claims) -> Result<Bearer, Unverified> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let answer = self.answers.lock().unwrap().get(&claims.sub).cloned();
        answer.unwrap_or_else(|| Err(Unverified::Invalid("unknown".to_owned())))
    }
}

struct World {
    now: Arc<Mutex<i64>>,
    review: Book,
    keys: Book,
    authenticator: TokenAuthenticator,
}

const WEB: &str = "system:serviceaccount:default:web";

fn gone() -> Result<Bearer, Unverified> {
    Err(Unverified::Unreachable("connection refused".to_owned()))
}

fn token(claims: &Value) -> String {
    let pair = KeyPair::generate().unwrap();
    let key = EncodingKey::from_ec_der(&pair.serialize_der());
    jsonwebtoken::encode(&Header::new(Algorithm::ES256), claims, &key).unwrap()
}

fn token_of(subject: &str) -> String {
    token(&json!({"sub": subject, "aud": TOKEN_AUDIENCE, "exp": NOW + 3600}))
}

impl World {
    fn new() -> Self {
        let now = Arc::new(Mutex::new(NOW));
        let shown = Arc::clone(&now);
        let clock = Clock::new(move || Timestamp::from_second(*shown.lock().unwrap()).unwrap());
        let options = TokenOptions { clock, ..TokenOptions::default() };
        let (review, keys) = (Book::default(), Book::default());
        review.accept(WEB);
        let authenticator =
            TokenAuthenticator::with(options, Box::new(review.clone()), Some(Box::new(keys.clone())));
        Self { now, review, keys, authenticator }
    }

    fn wait(&self, seconds: i64) {
        *self.now.lock().unwrap() += seconds;
    }

    async fn open(&self, token: Option<&str>, node: &str) -> Result<Admission, Refusal> {
        let mut metadata = MetadataMap::new();
        if let Some(token) = token {
            metadata.insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        self.authenticator.authenticate(&Peer::default(), &metadata, node).await
    }

    async fn refused(&self, token: Option<&str>, node: &str) -> (&'static str, Code) {
        let refusal = self.open(token, node).await.unwrap_err();
        assert!(self.authenticator.reasons().contains(&refusal.reason));
        (refusal.reason, refusal.status.code())
    }
}

#[tokio::test]
async fn a_proxy_reads_its_own_gateway() {
    let world = World::new();
    let admission = world.open(Some(&token_of(WEB)), "default/web").await.unwrap();
    assert_eq!((admission.node.as_str(), admission.name.as_deref()), ("default/web", Some("pod-1")));

    // Where the name of the Gateway cannot be that of its objects.
    let name = infrastructure_name("web.example");
    let account = format!("system:serviceaccount:default:{name}");
    world.review.accept(&account);
    let admission = world.open(Some(&token_of(&account)), "default/web.example").await.unwrap();
    assert_eq!(admission.node, "default/web.example");
}

#[tokio::test]
async fn everybody_else_is_refused_with_a_reason() {
    let world = World::new();
    let other = |change: Value| {
        let mut claims = json!({"sub": WEB, "aud": [TOKEN_AUDIENCE], "exp": NOW + 3600});
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        token(&claims)
    };
    let refused = async |token: &str| world.refused(Some(token), "default/web").await;
    assert_eq!(world.refused(None, "default/web").await, ("no_token", Code::Unauthenticated));
    assert_eq!(refused("rubbish").await, ("invalid_token", Code::Unauthenticated));
    assert_eq!(refused(&other(json!({"exp": NOW}))).await, ("expired", Code::Unauthenticated));
    assert_eq!(refused(&other(json!({"exp": null}))).await, ("expired", Code::Unauthenticated));
    assert_eq!(
        refused(&other(json!({"aud": ["https://kubernetes.default.svc"]}))).await,
        ("wrong_audience", Code::Unauthenticated)
    );
    assert_eq!(refused(&other(json!({"aud": null}))).await, ("invalid_token", Code::Unauthenticated));
    assert_eq!(world.review.asked(), 0, "what says against itself that it is worthless is not looked at");
    let stranger = token_of("system:serviceaccount:default:stranger");
    assert_eq!(refused(&stranger).await, ("invalid_token", Code::Unauthenticated));

    for node in ["default/other", "other/web", "web", "default/", "/web", "default/web/x", "DEFAULT/web"] {
        assert_eq!(
            world.refused(Some(&token_of(WEB)), node).await,
            ("wrong_gateway", Code::PermissionDenied),
            "{node}"
        );
    }
    for answer in [gone(), Err(Unverified::NotAllowed("forbidden".to_owned()))] {
        world.review.say(WEB, answer);
        world.keys.say(WEB, gone());
        assert_eq!(
            world.refused(Some(&token_of(WEB)), "default/web").await,
            ("unavailable", Code::Unavailable)
        );
    }
}

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// The lines since the last call, as JSON.
    fn take(&self) -> Vec<Value> {
        let text = std::mem::take(&mut *self.0.lock().unwrap());
        text.split(|it| *it == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }
}

#[tokio::test]
async fn the_log_says_who_was_refused_and_why_once_a_minute() {
    let world = World::new();
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let token = token_of(WEB);
    for _ in 0..5 {
        world.refused(Some(&token), "default/other").await;
    }
    world.refused(None, "default/other").await;
    let lines = log.take();
    assert_eq!(lines.len(), 2, "{lines:?}");
    let detail = "the token is of system:serviceaccount:default:web (Pod pod-1); \
                  proxies of this Gateway are system:serviceaccount:default:other";
    for (field, value) in [
        ("level", json!("WARN")),
        ("reason", json!("wrong_gateway")),
        ("gateway", json!("default/other")),
        ("detail", json!(detail)),
        ("suppressed", json!(0)),
    ] {
        assert_eq!(lines[0][field], value, "{}", lines[0]);
    }
    assert_eq!(lines[1]["reason"], "no_token");
    assert!(!format!("{lines:?}").contains(&token), "no token is ever logged");

    world.wait(60);
    world.refused(Some(&token), "default/other").await;
    let lines = log.take();
    assert_eq!((lines.len(), &lines[0]["suppressed"]), (1, &json!(4)));
    world.open(Some(&token), "default/web").await.unwrap();
    assert!(log.take().is_empty());
}

#[tokio::test]
async fn what_the_verifier_says_counts_and_not_what_the_token_says() {
    let world = World::new();
    let claims = "system:serviceaccount:default:claimed";
    let expires = Timestamp::from_second(NOW + 10).unwrap();
    world.review.say(claims, Ok(Bearer { account: ServiceAccount(WEB.to_owned()), pod: None, expires }));
    let token = token_of(claims);
    assert_eq!(world.refused(Some(&token), "default/claimed").await.0, "wrong_gateway");
    world.open(Some(&token), "default/web").await.unwrap();
}

#[tokio::test]
async fn an_answer_is_good_for_a_minute_and_a_refusal_for_seconds() {
    let world = World::new();
    let token = token_of(WEB);
    for (wait, asked) in [(0, 1), (59, 1), (1, 2), (30, 2)] {
        world.wait(wait);
        world.open(Some(&token), "default/web").await.unwrap();
        assert_eq!(world.review.asked(), asked);
    }
    world.wait(60);
    world.review.say(WEB, Err(Unverified::Invalid("deleted".to_owned())));
    for (wait, asked) in [(0, 3), (4, 3), (1, 4)] {
        world.wait(wait);
        assert_eq!(world.refused(Some(&token), "default/web").await.0, "invalid_token");
        assert_eq!(world.review.asked(), asked);
    }
    world.review.say(WEB, gone());
    world.wait(10);
    world.keys.say(WEB, gone());
    assert_eq!(
        world.refused(Some(&token), "default/web").await.0,
        "unavailable",
        "what was refused is not remembered"
    );
}

#[tokio::test]
async fn while_the_api_server_is_away_proxies_are_served() {
    let world = World::new();
    let known = token_of(WEB);
    world.open(Some(&known), "default/web").await.unwrap();
    world.review.say(WEB, gone());
    world.wait(600);
    // The one that was verified before, although nobody else knows it.
    world.keys.say(WEB, gone());
    world.open(Some(&known), "default/web").await.unwrap();
    assert_eq!(world.keys.asked(), 0);
    assert_eq!(world.refused(Some(&known), "default/other").await.0, "wrong_gateway", "with its own rights");
    // One that this replica has never seen, by the keys.
    let new = token_of(WEB);
    assert_eq!(world.refused(Some(&new), "default/web").await.0, "unavailable");
    world.keys.accept(WEB);
    world.open(Some(&new), "default/web").await.unwrap();
    // Each time the API server is tried first.
    assert_eq!(world.review.asked(), 5);
    world.review.say(WEB, Err(Unverified::Invalid("deleted".to_owned())));
    assert_eq!(world.refused(Some(&new), "default/web").await.0, "invalid_token");
    assert_eq!(world.refused(Some(&known), "default/web").await.0, "invalid_token");
    // An API server that answers, but not to us, is no reason to believe less.
    world.review.say(WEB, Err(Unverified::NotAllowed("forbidden".to_owned())));
    assert_eq!(world.refused(Some(&token_of(WEB)), "default/web").await.0, "unavailable");
    // And what has expired has expired.
    world.review.say(WEB, gone());
    world.wait(3000);
    assert_eq!(world.refused(Some(&new), "default/web").await.0, "expired");
}

#[tokio::test]
async fn a_stream_ends_before_its_token_does() {
    let world = World::new();
    let life = async |token: &str| {
        let until = world.open(Some(token), "default/web").await.unwrap().until.unwrap();
        until.duration_since(Instant::now()).as_secs_f64()
    };
    let token = token_of(WEB);
    let first = life(&token).await;
    assert!((3239.0..=3600.0).contains(&first), "{first}");
    assert!((life(&token).await - first).abs() < 1.0, "the same for the same token");
    world.wait(1800);
    let later = life(&token).await;
    assert!((1619.0..=1800.0).contains(&later), "{later}");

    let year = Timestamp::from_second(NOW + 365 * 86_400).unwrap();
    world.review.say(WEB, Ok(Bearer { account: ServiceAccount(WEB.to_owned()), pod: None, expires: year }));
    let long = life(&token_of(WEB)).await;
    assert!((3239.0..=3600.0).contains(&long), "{long}");
    let mut lives = Vec::new();
    for _ in 0..20 {
        lives.push(life(&token_of(WEB)).await);
    }
    assert!(lives.iter().any(|it| (it - lives[0]).abs() > 10.0), "not all at the same moment: {lives:?}");
}
