//! TLS options: the keys that may stand in `tls.options` of a listener and in `options` of a BackendTLSPolicy.
//!
//! The Gateway API leaves the keys to implementations. Ours have the domain `postern.dev`; those of kgateway mean the same, so that
//! its YAML works. A value that cannot be carried out is an error, because the default would be weaker than what was asked for.

use std::collections::BTreeMap;

use super::names::SubjectName;
use crate::problem::Fault;

/// The domains of keys that are understood.
const DOMAINS: [&str; 2] = ["postern.dev", "kgateway.dev"];

/// Cipher suites of TLS 1.2 and below that Envoy can be told to use: the name of the IANA registry, and that of OpenSSL.
const CIPHER_SUITES: [(&str, &str); 17] = [
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384"),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", "ECDHE-ECDSA-AES128-SHA"),
    ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "ECDHE-RSA-AES128-SHA"),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", "ECDHE-ECDSA-AES256-SHA"),
    ("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", "ECDHE-RSA-AES256-SHA"),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256", "ECDHE-ECDSA-AES128-SHA256"),
    ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", "ECDHE-RSA-AES128-SHA256"),
    ("TLS_RSA_WITH_AES_128_GCM_SHA256", "AES128-GCM-SHA256"),
    ("TLS_RSA_WITH_AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
    ("TLS_RSA_WITH_AES_128_CBC_SHA", "AES128-SHA"),
    ("TLS_RSA_WITH_AES_256_CBC_SHA", "AES256-SHA"),
    ("TLS_RSA_WITH_3DES_EDE_CBC_SHA", "DES-CBC3-SHA"),
];

/// Cipher suites of TLS 1.3. Envoy always offers all of them.
const CIPHER_SUITES_OF_13: [&str; 3] =
    ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];

/// Groups for the exchange of keys: the name that Envoy knows, and others for the same.
const CURVES: [(&str, &[&str]); 5] = [
    ("X25519", &["x25519"]),
    ("P-256", &["P256", "prime256v1", "secp256r1"]),
    ("P-384", &["P384", "secp384r1"]),
    ("P-521", &["P521", "secp521r1"]),
    ("X25519MLKEM768", &[]),
];

const SIGNATURE_ALGORITHMS: [&str; 12] = [
    "ecdsa_secp256r1_sha256",
    "ecdsa_secp384r1_sha384",
    "ecdsa_secp521r1_sha512",
    "ed25519",
    "rsa_pss_rsae_sha256",
    "rsa_pss_rsae_sha384",
    "rsa_pss_rsae_sha512",
    "rsa_pkcs1_sha256",
    "rsa_pkcs1_sha384",
    "rsa_pkcs1_sha512",
    "rsa_pkcs1_sha1",
    "ecdsa_sha1",
];

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    /// 1.0
    V1_0,
    /// 1.1
    V1_1,
    /// 1.2
    V1_2,
    /// 1.3
    V1_3,
}

/// Where options stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A listener that takes requests.
    Requests,
    /// A listener that takes connections of any protocol.
    Connections,
    /// A BackendTLSPolicy.
    Backend,
}

/// What options say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsOptions {
    pub(crate) minimum: Version,
    pub(crate) maximum: Version,
    /// As OpenSSL calls them; empty: Envoy's choice.
    pub(crate) cipher_suites: Vec<String>,
    /// Empty: Envoy's choice.
    pub(crate) curves: Vec<String>,
    /// Empty: Envoy's choice.
    pub(crate) signature_algorithms: Vec<String>,
    /// `None`: what the place offers by itself.
    pub(crate) alpn: Option<Vec<String>>,
    /// The certificate of a client has to have one of these names; empty: any.
    pub(crate) subject_names: Vec<SubjectName>,
    /// The certificate of the peer has to have one of these SHA-256 digests; empty: any.
    pub(crate) certificate_hashes: Vec<String>,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            minimum: Version::V1_2,
            maximum: Version::V1_3,
            cipher_suites: Vec::new(),
            curves: Vec::new(),
            signature_algorithms: Vec::new(),
            alpn: None,
            subject_names: Vec::new(),
            certificate_hashes: Vec::new(),
        }
    }
}

impl TlsOptions {
    /// True if they ask more of the certificate of a client than that an authority has signed it.
    pub(crate) fn asks_for_certificates(&self) -> bool {
        !self.subject_names.is_empty() || !self.certificate_hashes.is_empty()
    }
}

/// Options after reading.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Parsed {
    pub(crate) options: TlsOptions,
    /// What cannot be carried out; relative to the map.
    pub(crate) errors: Vec<Fault>,
    /// What has no effect.
    pub(crate) warnings: Vec<Fault>,
}

/// Reads options.
pub(crate) fn parse(given: &BTreeMap<String, String>, place: Place) -> Parsed {
    let mut out = Parsed::default();
    let mut seen: BTreeMap<&'static str, (&str, &str)> = BTreeMap::new();
    for (key, value) in given {
        let Some((domain, setting)) = setting(key) else {
            out.warnings.push(unknown(key));
            continue;
        };
        if let Some((other, before)) = seen.insert(setting.name, (key, value))
            && before != value
        {
            let message = format!("{other} says {before:?} and {domain} says {value:?}");
            out.errors.push(Fault::new(at(key), message, "keep one of the two keys"));
            continue;
        }
        let context = Context { key, value, place };
        if let Err(fault) = (setting.read)(&context, &mut out) {
            out.errors.push(fault);
        }
    }
    let TlsOptions { minimum, maximum, .. } = out.options;
    if minimum > maximum {
        let key = seen.get(MAXIMUM).or(seen.get(MINIMUM)).map_or(MAXIMUM, |(key, _)| key);
        out.errors.push(Fault::new(
            at(key),
            format!("no version is left between {} and {}", text(minimum), text(maximum)),
            "set the minimum version, which is 1.2 otherwise, to the maximum version at most",
        ));
    }
    out
}

const MINIMUM: &str = "minimum-tls-version";
const MAXIMUM: &str = "maximum-tls-version";

/// One setting, by the name of its key without the domain.
struct Setting {
    name: &'static str,
    /// Another name for the same.
    alias: Option<&'static str>,
    read: fn(&Context<'_>, &mut Parsed) -> Result<(), Fault>,
}

const SETTINGS: [Setting; 8] = [
    Setting { name: MINIMUM, alias: Some("min-tls-version"), read: minimum },
    Setting { name: MAXIMUM, alias: Some("max-tls-version"), read: maximum },
    Setting { name: "cipher-suites", alias: None, read: cipher_suites },
    Setting { name: "ecdh-curves", alias: None, read: curves },
    Setting { name: "signature-algorithms", alias: None, read: signature_algorithms },
    Setting { name: "alpn-protocols", alias: None, read: alpn },
    Setting { name: "verify-subject-alt-names", alias: None, read: subject_names },
    Setting { name: "verify-certificate-hash", alias: None, read: certificate_hashes },
];

/// An option while it is read.
struct Context<'a> {
    key: &'a str,
    value: &'a str,
    place: Place,
}

impl<'a> Context<'a> {
    fn fault(&self, message: impl Into<String>, remedy: impl Into<String>) -> Fault {
        Fault::new(at(self.key), message, remedy)
    }

    /// The entries of a list; at least one.
    fn list(&self) -> Result<Vec<&'a str>, Fault> {
        let entries: Vec<&str> = self.value.split(',').map(str::trim).collect();
        if entries.iter().any(|entry| entry.is_empty()) {
            return Err(self.fault(
                format!("{:?} is not a list", self.value),
                "give names separated by commas, or remove the option",
            ));
        }
        Ok(entries)
    }
}

fn setting(key: &str) -> Option<(&str, &'static Setting)> {
    let (domain, name) = key.split_once('/')?;
    if !DOMAINS.contains(&domain) {
        return None;
    }
    let setting = SETTINGS.iter().find(|setting| setting.name == name || setting.alias == Some(name))?;
    Some((key, setting))
}

fn unknown(key: &str) -> Fault {
    let known: Vec<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
    Fault::new(
        at(key),
        format!("the option {key} is not known and has no effect"),
        format!("remove it; known are, behind {}/, {}", DOMAINS[0], known.join(", ")),
    )
}

fn at(key: &str) -> String {
    format!("[{key}]")
}

const fn text(version: Version) -> &'static str {
    match version {
        Version::V1_0 => "1.0",
        Version::V1_1 => "1.1",
        Version::V1_2 => "1.2",
        Version::V1_3 => "1.3",
    }
}

fn version(context: &Context<'_>, auto: Version) -> Result<Version, Fault> {
    let number = context.value.trim();
    let versions = [Version::V1_0, Version::V1_1, Version::V1_2, Version::V1_3];
    if number.eq_ignore_ascii_case("auto") {
        return Ok(auto);
    }
    versions.into_iter().find(|version| text(*version) == number).ok_or_else(|| {
        context.fault(
            format!("{:?} is not a version of TLS", context.value),
            "use \"1.0\", \"1.1\", \"1.2\" or \"1.3\"",
        )
    })
}

fn minimum(context: &Context<'_>, out: &mut Parsed) -> Result<(), Fault> {
    out.options.minimum = version(context, Version::V1_2)?;
    Ok(())
}

fn maximum(context: &Context<'_>, out: &mut Parsed) -> Result<(), Fault> {
    out.options.maximum = version(context, Version::V1_3)?;
    Ok(())
}

fn cipher_suites(context: &Context<'_>, out: &mut Parsed) -> Result<(), Fault> {
    let mut suites = Vec::new();
    let mut of_13 = Vec::new();
    for name in context.list()? {
        if let Some((_, openssl)) =
            CIPHER_SUITES.iter().find(|(iana, openssl)| [*iana, *openssl].contains(&name))
        {
            suites.push((*openssl).to_owned());
        } else if CIPHER_SUITES_OF_13.contains(&name) {
            of_13.push(name);
        } else {
            let known: Vec<&str> = CIPHER_SUITES.iter().map(|(iana, _)| *iana).collect();
            return Err(context.fault(
                format!("the cipher suite {name:?} is not known"),
                format!("use some of {}", known.join(", ")),
            ));
        }
    }
    if suites.is_empty() {
        return Err(context.fault(
            "these cipher suites are all of TLS 1.3, where they cannot be chosen",
            "set the minimum version to 1.3 instead",
        ));
    }
    if !of_13.is_empty() {
        out.warnings.push(context.fault(
            format!("{} cannot be chosen: TLS 1.3 always has all of its cipher suites", of_13.join(", ")),
            "remove them from the list",
        ));
    }
    out.options.cipher_suites = suites;
    Ok(())
}

fn curves(context: &Context<'_>, out: &mut Parsed) -> Result<(), Fault> {
    out.options.curves = context
        .list()?
        .into_iter()
        .map(|name| {
            let found = CURVES.iter().find(|(curve, others)| *curve == name || others.contains(&name));
            found.map(|(curve, _)| (*curve).to_owned()).ok_or_else(|| {
                let known = CURVES.map(|(curve, _)| curve);
                context.fault(
                    format!("the curve {name:?} is not known"),
                    format!("use some of {}", known.join(", ")),
                )
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(())
}

fn signature_algorithms(context: &Context<'_>, out: &mut Parsed) -> Result<(), Fault> {
    let names = context.list()?;
    if let Some(name) = names.iter().find(|name| !SIGNATURE_ALGORITHMS.contains(name)) {
        return Err(context.fault(
            format!("the signature algorithm {name:?} is not known"),
            format!("use some of {}", SIGNATURE_ALGORITHMS.join(", ")),
        ));
    }
    out.options.signature_algorithms = names.into_iter().map(ToOwned::to_owned).collect();
    Ok(())
}

/// kgateway's word for "offer no protocol".
const NO_ALPN: &str = "allow-empty";

fn alpn(context: &Context<'_>, out: &mut Parsed) -> Result<(), Fault> {
    if context.value.trim() == NO_ALPN {
        out.options.alpn = Some(Vec::new());
        return Ok(());
    }
    let names = context.list()?;
    let unspoken = |name: &&&str| match context.place {
        Place::Requests => !["h2", "http/1.1"].contains(*name),
        Place::Connections | Place::Backend => name.len() > 255,
    };
    if let Some(name) = names.iter().find(unspoken) {
        return Err(context.fault(
            format!("the protocol {name:?} cannot be offered"),
            format!("use h2, http/1.1 or both, or {NO_ALPN} to offer none"),
        ));
    }
    out.options.alpn = Some(names.into_iter().map(ToOwned::to_owned).collect());
    Ok(())
}

fn subject_names(context: &Context<'_>, out: &mut Parsed) -> Result<(), Fault> {
    if context.place == Place::Backend {
        return Err(context.fault(
            "the names of a backend stand in the policy itself",
            "use spec.validation.subjectAltNames",
        ));
    }
    out.options.subject_names = context
        .list()?
        .into_iter()
        .map(|name| {
            SubjectName::any(name).ok_or_else(|| {
                context.fault(
                    format!("{name:?} is not a name that a certificate can have"),
                    "use host names, URIs or IP addresses",
                )
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(())
}

/// kgateway separates digests by hyphens, too.
fn certificate_hashes(context: &Context<'_>, out: &mut Parsed) -> Result<(), Fault> {
    let value = context.value.replace('-', ",");
    let context = Context { value: &value, ..*context };
    out.options.certificate_hashes = context
        .list()?
        .into_iter()
        .map(|digest| {
            let digits: String = digest.chars().filter(|c| *c != ':').collect();
            let readable = digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit());
            readable.then(|| digits.to_ascii_lowercase()).ok_or_else(|| {
                Fault::new(
                    at(context.key),
                    format!("{digest:?} is not a SHA-256 digest"),
                    "give the digest of the certificate in hexadecimal, as openssl x509 -fingerprint -sha256 prints it",
                )
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(())
}

#[cfg(test)]
mod tests;
