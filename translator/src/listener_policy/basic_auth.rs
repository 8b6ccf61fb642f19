//! Basic authentication: users and passwords of a Secret, in the format of htpasswd.

use std::collections::BTreeSet;

use envoy_types::pb::envoy::extensions::filters::http::basic_auth::v3::BasicAuth as EnvoyBasicAuth;
use k8s_openapi::api::core::v1::Secret;
use postern_api::kgateway::BasicAuth;

use crate::dependency::Reader;
use crate::envoy::inline_string;
use crate::grants::{self, Reference};
use crate::object::{Kind, ObjectKey};
use crate::problem::Fault;

/// Envoy's name of the filter.
pub(crate) const FILTER: &str = "envoy.filters.http.basic_auth";

/// Where the users stand in a Secret: as Envoy Gateway, as people, and as ingress-nginx name it; the first one counts.
const KEYS: [&str; 3] = [".htpasswd", "htpasswd", "auth"];

/// How Envoy wants passwords: the SHA-1 digest in base64.
const SHA: &str = "{SHA}";
const SHA_BASE64_LENGTH: usize = 28;

const REF: &str = ".credentialsSecretRef";

/// Users who may pass, in lines of htpasswd. The only place where they stand is the filter.
#[derive(Clone, PartialEq)]
pub(crate) struct Users(String);

impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Users({})", self.0.lines().count())
    }
}

/// Reads the users of a policy, and what is wrong with single lines; fields of faults are relative to `basicAuth`.
pub(super) fn parse(
    reader: &Reader<'_>,
    policy: &ObjectKey,
    spec: &BasicAuth,
) -> Result<(Users, Vec<Fault>), Fault> {
    let Some(reference) = &spec.credentials_secret_ref else {
        return Err(Fault::new(REF, "nobody may pass", "name a Secret with lines of htpasswd"));
    };
    let namespace = reference.namespace.as_deref().unwrap_or(&policy.namespace);
    let name = format!("{namespace}/{}", reference.name);
    let asked = Reference {
        from_group: policy.kind.group(),
        from_kind: policy.kind.as_str(),
        from_namespace: &policy.namespace,
        to_group: "",
        to_kind: Kind::Secret.as_str(),
        to_namespace: namespace,
        to_name: &reference.name,
    };
    if !grants::permitted(reader, asked) {
        return Err(Fault::new(
            REF,
            format!("Secret {name} is in another namespace and no ReferenceGrant allows it"),
            grants::remedy(asked),
        ));
    }
    let Some(secret) = reader.get::<Secret>(namespace, &reference.name) else {
        return Err(Fault::new(
            REF,
            format!("Secret {name} does not exist"),
            "create the Secret, or mend the reference",
        ));
    };
    let found = KEYS.iter().find_map(|key| Some((*key, entry(secret, key)?)));
    let Some((key, text)) = found else {
        return Err(Fault::new(
            REF,
            format!("Secret {name} has none of the keys {}", KEYS.join(", ")),
            "put lines of htpasswd -s there, under .htpasswd",
        ));
    };
    let at = format!("Secret {name}, {key}");
    let (users, faults) = lines(&text, &at);
    if users.is_empty() {
        let why = faults.first().map_or_else(|| format!("{at} has no line"), |fault| fault.message.clone());
        return Err(Fault::new(
            REF,
            format!("nobody could pass: {why}"),
            "put lines of htpasswd -s there: user:{SHA}...",
        ));
    }
    Ok((Users(users), faults))
}

fn entry(secret: &Secret, key: &str) -> Option<String> {
    let data = secret.data.as_ref().and_then(|data| data.get(key)).map(|bytes| bytes.0.clone());
    let text = || secret.string_data.as_ref().and_then(|data| data.get(key)).cloned();
    data.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).or_else(text)
}

/// The lines that Envoy takes, each on a line of its own, and what is wrong with the others. A bad line would make Envoy refuse
/// all of them.
fn lines(text: &str, at: &str) -> (String, Vec<Fault>) {
    let mut users = String::new();
    let mut seen = BTreeSet::new();
    let mut faults = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match user(line) {
            Ok(user) if seen.insert(user.to_owned()) => {
                users.push_str(line);
                users.push('\n');
            }
            Ok(user) => faults.push(Fault::new(
                REF,
                format!("{at}, line {}: there is a line for user {user:?} already, which counts", index + 1),
                "remove one of the two",
            )),
            Err(message) => faults.push(Fault::new(
                REF,
                format!("{at}, line {}: {message}", index + 1),
                "make the line with htpasswd -s: Envoy takes the digest {SHA} only",
            )),
        }
    }
    (users, faults)
}

/// The user of a line. What is wrong does not quote the password.
fn user(line: &str) -> Result<&str, String> {
    let Some((user, password)) = line.split_once(':') else {
        return Err("it has no colon between user and password".to_owned());
    };
    if user.is_empty() {
        return Err("it has no user".to_owned());
    }
    match password.strip_prefix(SHA) {
        Some(digest) if is_digest(digest) => Ok(user),
        Some(_) => Err(format!("the password of user {user:?} is no SHA-1 digest in base64")),
        None => Err(format!("the password of user {user:?} is not of the kind {SHA}")),
    }
}

fn is_digest(text: &str) -> bool {
    text.len() == SHA_BASE64_LENGTH
        && text.ends_with('=')
        && text[..SHA_BASE64_LENGTH - 1].bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
}

impl Users {
    /// Envoy's filter. The header with the password goes on to the backend, as it does from other gateways.
    pub(crate) fn envoy(&self) -> EnvoyBasicAuth {
        EnvoyBasicAuth { users: Some(inline_string(self.0.clone())), ..EnvoyBasicAuth::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dependency::tests::{World, yaml};

    const ANNA: &str = "anna:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=";

    fn read(secret: &str, spec: &str) -> Result<(Users, Vec<Fault>), Fault> {
        let world = World::new(&[(Kind::Secret, "a/users", secret), (Kind::Secret, "b/users", secret)]);
        parse(&world.reader(), &ObjectKey::new(Kind::HttpListenerPolicy, "a", "p"), &yaml(spec))
    }

    #[test]
    fn users_stand_under_one_of_three_keys() {
        for key in KEYS {
            let (users, faults) =
                read(&format!("stringData: {{{key}: '{ANNA}'}}"), "{credentialsSecretRef: {name: users}}")
                    .unwrap();
            assert_eq!((users.0.as_str(), faults.len()), (format!("{ANNA}\n").as_str(), 0), "{key}");
        }
    }

    #[test]
    fn lines_that_envoy_would_refuse_are_left_out() {
        let (users, faults) = lines(
            &format!("# people\n\n{ANNA}\nbob:$apr1$x$y\ncarl:{{SHA}}short\nnobody\n:{{SHA}}x\n{ANNA}\n"),
            "it",
        );
        assert_eq!(users, format!("{ANNA}\n"));
        let told: Vec<&str> = faults.iter().map(|fault| fault.message.as_str()).collect();
        assert_eq!(told.len(), 5, "{told:?}");
        assert!(
            told[0].contains("line 4") && told[0].contains("bob") && !told[0].contains("apr1"),
            "{told:?}"
        );
    }

    #[test]
    fn nobody_passes_without_users() {
        for (secret, spec) in [
            ("stringData: {}", "{}"),
            ("stringData: {}", "{credentialsSecretRef: {name: users}}"),
            ("stringData: {auth: ''}", "{credentialsSecretRef: {name: users}}"),
            ("stringData: {auth: 'bob:$apr1$x$y'}", "{credentialsSecretRef: {name: users}}"),
            ("stringData: {}", "{credentialsSecretRef: {name: gone}}"),
            ("stringData: {}", "{credentialsSecretRef: {name: users, namespace: b}}"),
        ] {
            assert_eq!(read(secret, spec).unwrap_err().field, REF, "{secret} {spec}");
        }
    }
}
