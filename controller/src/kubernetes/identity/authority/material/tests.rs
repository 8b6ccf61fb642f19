use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use super::*;

const DAY: Duration = Duration::from_hours(24);

fn day(number: u32) -> Timestamp {
    after("2030-01-01T00:00:00Z".parse().unwrap(), DAY * number)
}

/// Whether a proxy that trusts `bundle` believes the certificate.
fn believes(bundle: &str, issued: &Issued, name: &str, now: Timestamp) -> bool {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = rustls::crypto::ring::default_provider();
    let end = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
    let end = rustls::server::ParsedCertificate::try_from(&end).unwrap();
    let time = UnixTime::since_unix_epoch(Duration::from_secs(now.as_second().try_into().unwrap()));
    let algorithms = provider.signature_verification_algorithms.all;
    let name = ServerName::try_from(name).unwrap();
    rustls::client::verify_server_cert_signed_by_trust_anchor(&end, &roots, &[], time, algorithms).is_ok()
        && rustls::client::verify_server_name(&end, &name).is_ok()
}

fn names() -> Vec<String> {
    vec!["postern.postern-system.svc".to_owned(), "postern".to_owned()]
}

fn step(material: &Material, now: Timestamp) -> Option<(Material, Step)> {
    material.advance(now, &Lifetimes::default()).unwrap()
}

#[test]
fn the_data_of_the_secret_is_read_as_it_was_written() {
    let lifetimes = Lifetimes::default();
    let mut material = Material::generate(day(0), &lifetimes).unwrap();
    for expected in [Step::Prepared, Step::Promoted, Step::Retired] {
        assert!(Material::parse(&material.to_data()).unwrap() == material);
        let (next, step) = step(&material, material.due(&lifetimes)).unwrap();
        assert_eq!(step, expected);
        material = next;
    }
    assert!(Material::parse(&material.to_data()).unwrap() == material);
}

#[test]
fn a_serving_certificate_is_believed_for_its_names_and_its_time() {
    let lifetimes = Lifetimes::default();
    let material = Material::generate(day(0), &lifetimes).unwrap();
    let issued = material.issue(&names(), day(3), &lifetimes).unwrap();
    let believed = |name, now| believes(&material.bundle(), &issued, name, now);
    assert!(believed("postern.postern-system.svc", day(3)));
    assert!(believed("postern", day(3)));
    assert!(!believed("postern.elsewhere.svc", day(3)));
    let (start, end) = (before(day(3), BACKDATED), day(4));
    assert_eq!(issued.not_after, end);
    let second = Duration::from_secs(1);
    assert!(believed("postern", start) && !believed("postern", before(start, second)));
    assert!(believed("postern", before(end, second)) && !believed("postern", after(end, second)));
}

#[test]
fn no_serving_certificate_outlives_its_authority() {
    let lifetimes = Lifetimes::default();
    let material = Material::generate(day(0), &lifetimes).unwrap();
    let late = before(material.signing.anchor.not_after, Duration::from_mins(5));
    let issued = material.issue(&names(), late, &lifetimes).unwrap();
    assert_eq!(issued.not_after, material.signing.anchor.not_after);
}

/// Goes through two years, hour by hour, with two replicas that issue certificates when they are half way through, one of
/// which hears of everything six hours late; and with proxies that read the bundle up to two days late.
#[test]
fn over_two_years_every_proxy_believes_every_replica() {
    let lifetimes = Lifetimes::default();
    let mut material = Material::generate(day(0), &lifetimes).unwrap();
    let mut history: Vec<Material> = Vec::new();
    let mut steps = Vec::new();
    let mut serving: [Option<(Issued, String, Timestamp)>; 2] = [None, None];
    let mut last_step = 0;
    for hour in 0..(2 * 365 * 24) {
        let now = after(day(0), Duration::from_hours(hour));
        while let Some((next, step)) = step(&material, now) {
            steps.push((step, hour / 24));
            last_step = hour;
            material = next;
        }
        history.push(material.clone());
        let seen = |late: usize| &history[history.len().saturating_sub(1 + late)];
        for (replica, late) in [0, 6].into_iter().enumerate() {
            let known = seen(late);
            let current = &mut serving[replica];
            let issuer = &known.signing.anchor.pem;
            if current.as_ref().is_none_or(|(_, by, renew_at)| by != issuer || *renew_at <= now) {
                let new = known.issue(&names(), now, &lifetimes).unwrap();
                *current = Some((new, issuer.clone(), after(now, lifetimes.serving / 2)));
            }
        }
        // Every hour for four days after each step; now and then at other times.
        if hour - last_step < 96 || hour % 100 == 0 {
            for late in [0, 1, 48] {
                for (certificate, _, _) in serving.iter().flatten() {
                    assert!(
                        believes(&seen(late).bundle(), certificate, "postern", now),
                        "hour {hour}, {late} hours late"
                    );
                }
            }
        }
    }
    let expected = [
        (Step::Prepared, 243),
        (Step::Promoted, 250),
        (Step::Retired, 251),
        (Step::Prepared, 486),
        (Step::Promoted, 493),
        (Step::Retired, 494),
    ];
    assert_eq!(steps, expected);
}

#[test]
fn an_authority_that_nobody_looked_after_is_replaced() {
    let lifetimes = Lifetimes::default();
    let old = Material::generate(day(0), &lifetimes).unwrap();
    let (new, what) = step(&old, day(400)).unwrap();
    assert_eq!(what, Step::Replaced);
    assert!(!new.bundle().contains(&old.signing.anchor.pem));
    assert!(step(&new, day(400)).is_none());

    // A successor that is there is better than a stranger, however short its time was.
    let (prepared, _) = step(&old, day(364)).unwrap();
    let (promoted, what) = step(&prepared, day(366)).unwrap();
    assert_eq!(what, Step::Promoted);
    assert!(prepared.bundle().contains(&promoted.signing.anchor.pem));
    assert!(promoted.previous.is_none(), "what has expired is not trusted");
}

#[test]
fn something_is_due_exactly_when_advance_says_so() {
    let lifetimes = Lifetimes::default();
    let mut material = Material::generate(day(0), &lifetimes).unwrap();
    for _ in 0..7 {
        let due = material.due(&lifetimes);
        assert!(step(&material, before(due, Duration::from_secs(1))).is_none(), "{due}");
        material = step(&material, due).unwrap().0;
    }
}

#[test]
fn damage_is_named() {
    type Data = BTreeMap<String, Vec<u8>>;
    let lifetimes = Lifetimes::default();
    let material = Material::generate(day(0), &lifetimes).unwrap();
    let (prepared, _) = step(&material, day(300)).unwrap();
    let (promoted, _) = step(&prepared, day(310)).unwrap();
    let other = Material::generate(day(1), &lifetimes).unwrap();
    let leaf = material.issue(&names(), day(1), &lifetimes).unwrap();

    let damaged = |of: &Material, change: &dyn Fn(&mut Data)| {
        let mut data = of.to_data();
        change(&mut data);
        Material::parse(&data).err().map(|damage| damage.to_string()).unwrap_or_default()
    };
    let put = |key: &'static str, text: &str| {
        let text = text.to_owned();
        move |data: &mut Data| {
            data.insert(key.to_owned(), text.clone().into_bytes());
        }
    };
    let drop = |key: &'static str| {
        move |data: &mut Data| {
            data.remove(key).unwrap();
        }
    };
    assert_eq!(damaged(&material, &|data| data.clear()), "tls.crt is missing");
    assert_eq!(damaged(&material, &drop("tls.key")), "tls.key is missing");
    assert_eq!(damaged(&prepared, &drop("next.key")), "next.key is missing");
    assert_eq!(damaged(&prepared, &drop("next.crt")), "next.crt is missing");
    assert_eq!(damaged(&promoted, &drop("previous.until")), "previous.until is missing");
    assert_eq!(damaged(&promoted, &drop("previous.crt")), "previous.crt is missing");
    let mut binary = material.to_data();
    binary.insert("tls.key".to_owned(), vec![0xff]);
    assert_eq!(Material::parse(&binary).err(), Some(Damage::NotText("tls.key")));
    assert_eq!(
        damaged(&material, &put("tls.crt", "")),
        "tls.crt and tls.key: one certificate is expected, not 0"
    );
    assert_eq!(
        damaged(&material, &put("tls.crt", &(material.bundle() + &other.bundle()))),
        "tls.crt and tls.key: one certificate is expected, not 2"
    );
    assert_eq!(
        damaged(&material, &put("tls.crt", &leaf.certificate)),
        "tls.crt and tls.key: the certificate is not that of an authority"
    );
    assert_eq!(
        damaged(&material, &put("tls.key", &other.signing.key)),
        "tls.crt and tls.key: the private key is not that of the certificate"
    );
    assert!(damaged(&material, &put("tls.key", "secret")).contains("the private key cannot be read"));
    assert!(
        damaged(&promoted, &put("previous.until", "tomorrow")).starts_with("previous.until is not a time")
    );
    // What is only shown to people is not read.
    assert_eq!(damaged(&material, &put("ca.crt", "anything")), "");
}
