use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as SyncMutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header};
use rcgen::{KeyPair, PublicKeyData as _};
use serde_json::{Value, json};

use super::*;

const AUDIENCE: &str = "postern.dev/xds";
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const NOW: i64 = 1_900_000_000;

/// A signing key of the API server.
struct Signer {
    id: String,
    pair: KeyPair,
}

impl Signer {
    fn new(id: &str) -> Self {
        Self { id: id.to_owned(), pair: KeyPair::generate().unwrap() }
    }

    fn public(&self) -> Value {
        // An uncompressed point: 4, x, y.
        let point = self.pair.der_bytes();
        let (x, y) = point[1..].split_at(32);
        json!({
            "kty": "EC", "use": "sig", "alg": "ES256", "crv": "P-256", "kid": self.id,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        })
    }

    fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.id.clone()), ..Header::new(Algorithm::ES256) };
        let key = EncodingKey::from_ec_der(&self.pair.serialize_der());
        jsonwebtoken::encode(&header, claims, &key).unwrap()
    }
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": [AUDIENCE], "sub": "system:serviceaccount:default:web",
        "exp": NOW + 3600, "nbf": NOW - 10, "iat": NOW - 10,
        "kubernetes.io": {
            "namespace": "default",
            "pod": {"name": "web-1", "uid": "u"},
            "serviceaccount": {"name": "web", "uid": "u"},
        },
    })
}

/// What is published, and how often it was read.
#[derive(Clone, Default)]
struct Api {
    published: Arc<SyncMutex<Option<Vec<Value>>>>,
    read: Arc<AtomicUsize>,
}

impl Api {
    fn publish(&self, keys: Option<Vec<Value>>) {
        *self.published.lock().unwrap() = keys;
    }

    fn readings(&self) -> usize {
        self.read.load(Ordering::Relaxed)
    }
}

#[tonic::async_trait]
impl Publisher for Api {
    async fn read(&self) -> Result<Published, String> {
        self.read.fetch_add(1, Ordering::Relaxed);
        let keys = self.published.lock().unwrap().clone().ok_or("connection refused")?;
        let keys = read_keys(&json!({"keys": keys}).to_string()).unwrap();
        Ok(Published { issuer: ISSUER.to_owned(), keys })
    }
}

struct World {
    api: Api,
    now: Arc<SyncMutex<i64>>,
    keys: Keys<Api>,
}

impl World {
    fn new(keys: Option<Vec<Value>>) -> Self {
        let api = Api::default();
        api.publish(keys);
        let now = Arc::new(SyncMutex::new(NOW));
        let shown = Arc::clone(&now);
        let clock = Clock::new(move || Timestamp::from_second(*shown.lock().unwrap()).unwrap());
        Self { keys: Keys::new(api.clone(), AUDIENCE, clock), api, now }
    }

    fn wait(&self, seconds: i64) {
        *self.now.lock().unwrap() += seconds;
    }

    async fn verify(&self, token: &str) -> Result<Bearer, Unverified> {
        let claims = serde_json::from_str("{}").unwrap();
        self.keys.verify(token, &claims).await
    }

    async fn refused(&self, token: &str) -> String {
        match self.verify(token).await {
            Err(Unverified::Invalid(why)) => why,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_token_of_the_api_server_is_verified() {
    let signer = Signer::new("a");
    let world = World::new(Some(vec![json!({"kty": "of the future", "kid": "f"}), signer.public()]));
    let bearer = world.verify(&signer.sign(&claims())).await.unwrap();
    assert_eq!(bearer.account, ServiceAccount::new("default", "web"));
    assert_eq!(bearer.pod.as_deref(), Some("web-1"));
    assert_eq!(bearer.expires.as_second(), NOW + 3600);
    for _ in 0..3 {
        world.verify(&signer.sign(&claims())).await.unwrap();
    }
    assert_eq!(world.api.readings(), 1, "keys are kept");
}

#[tokio::test]
async fn every_claim_counts() {
    let signer = Signer::new("a");
    let world = World::new(Some(vec![signer.public()]));
    for (field, value, why) in [
        ("aud", json!(["https://kubernetes.default.svc"]), "InvalidAudience"),
        ("aud", json!("postern.dev/other"), "InvalidAudience"),
        ("aud", Value::Null, "Missing required claim: aud"),
        ("iss", json!("https://elsewhere.example"), "InvalidIssuer"),
        ("iss", Value::Null, "Missing required claim: iss"),
        ("sub", Value::Null, "Missing required claim: sub"),
        ("exp", json!(NOW), "it has expired"),
        ("exp", json!(NOW - 100_000), "it has expired"),
        ("exp", Value::Null, "Missing required claim: exp"),
        ("nbf", json!(NOW + 61), "it is not valid yet"),
    ] {
        let mut claims = claims();
        match value {
            Value::Null => _ = claims.as_object_mut().unwrap().remove(field),
            _ => claims[field] = value.clone(),
        }
        let said = world.refused(&signer.sign(&claims)).await;
        assert!(said.starts_with(why), "{field} {value}: {said}");
    }
    let mut early = claims();
    early["nbf"] = json!(NOW + 59);
    world.verify(&signer.sign(&early)).await.unwrap();
}

#[tokio::test]
async fn only_the_api_server_can_sign() {
    let signer = Signer::new("a");
    let world = World::new(Some(vec![signer.public()]));
    let forger = Signer::new("a");
    assert_eq!(world.refused(&forger.sign(&claims())).await, "InvalidSignature");

    // With the public key as the secret of a symmetric signature, the classic.
    let header = Header { kid: Some("a".to_owned()), ..Header::new(Algorithm::HS256) };
    let secret = EncodingKey::from_secret(signer.pair.der_bytes());
    let token = jsonwebtoken::encode(&header, &claims(), &secret).unwrap();
    assert_eq!(world.refused(&token).await, "InvalidAlgorithm");

    let nameless = Header::new(Algorithm::ES256);
    let key = EncodingKey::from_ec_der(&signer.pair.serialize_der());
    let token = jsonwebtoken::encode(&nameless, &claims(), &key).unwrap();
    assert_eq!(world.refused(&token).await, "it names no key");

    // A secret among the published keys is no key.
    let octets = json!({"kty": "oct", "alg": "HS256", "kid": "o", "k": URL_SAFE_NO_PAD.encode("secret")});
    let world = World::new(Some(vec![octets]));
    let header = Header { kid: Some("o".to_owned()), ..Header::new(Algorithm::HS256) };
    let token = jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_secret(b"secret")).unwrap();
    assert_eq!(world.refused(&token).await, "it was signed with an unknown key");
}

#[tokio::test]
async fn a_new_key_is_looked_for_but_not_all_the_time() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let world = World::new(Some(vec![old.public()]));
    world.verify(&old.sign(&claims())).await.unwrap();
    world.api.publish(Some(vec![old.public(), new.public()]));
    for _ in 0..5 {
        assert_eq!(world.refused(&new.sign(&claims())).await, "it was signed with an unknown key");
    }
    assert_eq!(world.api.readings(), 1);
    world.wait(10);
    world.verify(&new.sign(&claims())).await.unwrap();
    assert_eq!(world.api.readings(), 2);

    // A key that was withdrawn is not believed for long.
    world.api.publish(Some(vec![new.public()]));
    world.wait(299);
    world.verify(&old.sign(&claims())).await.unwrap();
    world.wait(1);
    assert_eq!(world.refused(&old.sign(&claims())).await, "it was signed with an unknown key");
}

#[tokio::test]
async fn without_an_api_server_the_known_keys_serve_on() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let world = World::new(None);
    let unreachable = Err(Unverified::Unreachable("connection refused".to_owned()));
    assert_eq!(world.verify(&old.sign(&claims())).await, unreachable);
    assert_eq!(world.verify(&old.sign(&claims())).await, unreachable, "also when it was not asked again");

    world.api.publish(Some(vec![old.public()]));
    world.wait(10);
    world.verify(&old.sign(&claims())).await.unwrap();
    world.api.publish(None);
    world.wait(3000);
    world.verify(&old.sign(&claims())).await.unwrap();
    assert_eq!(world.verify(&new.sign(&claims())).await, unreachable, "perhaps it is a new key");
    assert_eq!(world.keys.refresh().await, Err("connection refused".to_owned()));
}
