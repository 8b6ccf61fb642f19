use super::*;

fn read(place: Place, given: &[(&str, &str)]) -> Parsed {
    let given = given.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    parse(&given, place)
}

fn good(given: &[(&str, &str)]) -> TlsOptions {
    let parsed = read(Place::Requests, given);
    assert_eq!((parsed.errors, parsed.warnings), (vec![], vec![]), "{given:?}");
    parsed.options
}

#[test]
fn without_options_only_modern_tls_is_spoken() {
    let options = good(&[]);
    assert_eq!((options.minimum, options.maximum), (Version::V1_2, Version::V1_3));
    assert_eq!(options, TlsOptions::default());
}

#[test]
fn the_keys_of_both_domains_mean_the_same() {
    for (ours, theirs, value) in [
        ("postern.dev/minimum-tls-version", "kgateway.dev/min-tls-version", "1.3"),
        ("postern.dev/maximum-tls-version", "kgateway.dev/max-tls-version", "1.2"),
        ("postern.dev/cipher-suites", "kgateway.dev/cipher-suites", "ECDHE-RSA-AES128-GCM-SHA256"),
        ("postern.dev/ecdh-curves", "kgateway.dev/ecdh-curves", "X25519MLKEM768,X25519, P-256"),
        ("postern.dev/signature-algorithms", "kgateway.dev/signature-algorithms", "ed25519"),
        ("postern.dev/alpn-protocols", "kgateway.dev/alpn-protocols", "h2"),
        (
            "postern.dev/verify-subject-alt-names",
            "kgateway.dev/verify-subject-alt-names",
            "a.example.com,spiffe://x/y",
        ),
    ] {
        let options = good(&[(ours, value)]);
        assert_ne!(options, TlsOptions::default(), "{ours}");
        assert_eq!(good(&[(theirs, value)]), options, "{theirs}");
        assert_eq!(good(&[(ours, value), (theirs, value)]), options, "both");
    }
    let both = [("kgateway.dev/alpn-protocols", "h2"), ("postern.dev/alpn-protocols", "http/1.1")];
    let parsed = read(Place::Requests, &both);
    assert_eq!(parsed.errors.len(), 1, "{parsed:?}");
    assert!(parsed.errors[0].message.contains("kgateway.dev/alpn-protocols"), "{parsed:?}");
}

#[test]
fn cipher_suites_have_two_names_and_those_of_tls_1_3_cannot_be_chosen() {
    let suites = |value| good(&[("postern.dev/cipher-suites", value)]).cipher_suites;
    assert_eq!(
        suites("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, ECDHE-ECDSA-CHACHA20-POLY1305"),
        ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"]
    );
    let mixed = [("kgateway.dev/cipher-suites", "TLS_AES_128_GCM_SHA256,ECDHE-RSA-AES128-GCM-SHA256")];
    let parsed = read(Place::Requests, &mixed);
    assert_eq!((parsed.errors.len(), parsed.warnings.len()), (0, 1));
    assert_eq!(parsed.options.cipher_suites, ["ECDHE-RSA-AES128-GCM-SHA256"]);
}

#[test]
fn digests_come_in_many_forms() {
    let digest = "46db0dc2e14f0a058c4f058d77b18d7c1abe184faf81bfe2b1cd03437fd8654b";
    let colons: Vec<String> =
        digest.as_bytes().chunks(2).map(|b| String::from_utf8_lossy(b).to_uppercase()).collect();
    for value in [digest.to_owned(), colons.join(":"), format!("{digest} - {}", colons.join(":"))] {
        let hashes = good(&[("postern.dev/verify-certificate-hash", &value)]).certificate_hashes;
        assert!(hashes.iter().all(|it| it == digest), "{value}: {hashes:?}");
        assert!(!hashes.is_empty());
    }
}

#[test]
fn offering_no_protocol_is_not_the_same_as_saying_nothing() {
    assert_eq!(good(&[("kgateway.dev/alpn-protocols", "allow-empty")]).alpn, Some(vec![]));
    assert_eq!(good(&[]).alpn, None);
    let any = read(Place::Connections, &[("postern.dev/alpn-protocols", "postgresql")]);
    assert_eq!(any.options.alpn.as_deref(), Some(&["postgresql".to_owned()][..]));
}

#[test]
fn what_cannot_be_carried_out_names_its_key() {
    for (place, key, value) in [
        (Place::Requests, "minimum-tls-version", "1.4"),
        (Place::Requests, "minimum-tls-version", ""),
        (Place::Requests, "min-tls-version", "TLS 1.2"),
        // The minimum is 1.2 if nobody says otherwise.
        (Place::Requests, "maximum-tls-version", "1.1"),
        (Place::Requests, "cipher-suites", "ECDHE-RSA-AES128-GCM-SHA256,RC4"),
        (Place::Requests, "cipher-suites", "TLS_AES_128_GCM_SHA256"),
        (Place::Requests, "cipher-suites", ""),
        (Place::Requests, "cipher-suites", "AES128-SHA,,AES256-SHA"),
        (Place::Requests, "ecdh-curves", "P-224"),
        (Place::Requests, "signature-algorithms", "md5"),
        (Place::Requests, "alpn-protocols", "h3"),
        (Place::Requests, "verify-subject-alt-names", "a b"),
        (Place::Requests, "verify-certificate-hash", "46:DB"),
        (Place::Backend, "verify-subject-alt-names", "a.example.com"),
    ] {
        let key = format!("postern.dev/{key}");
        let parsed = read(place, &[(&key, value)]);
        let fields: Vec<&str> = parsed.errors.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(fields, [format!("[{key}]")], "{value:?}");
        assert!(parsed.warnings.is_empty());
    }
}

#[test]
fn keys_that_nobody_knows_have_no_effect() {
    for key in ["example.com/minimum-tls-version", "postern.dev/ciphers", "minimum-tls-version"] {
        let parsed = read(Place::Requests, &[(key, "1.3")]);
        assert_eq!((parsed.errors.len(), parsed.warnings.len()), (0, 1), "{key}");
        assert_eq!(parsed.options, TlsOptions::default());
    }
}
