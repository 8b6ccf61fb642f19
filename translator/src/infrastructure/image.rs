//! The image of the proxies, by parts.

use serde::Serialize;

/// The parts of an image that differ from the default (`envoyContainer.image`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Registry, as in `docker.io`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
    /// Repository, as in `envoyproxy/envoy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Digest, as in `sha256:…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

impl Image {
    /// The reference of the image: the parts given here, and those of `default` for the rest. A digest of the default
    /// falls away where any part is given, for it belongs to that very image; a tag stays beside a digest, for people.
    ///
    /// # Examples
    /// ```
    /// # use postern_translator::infrastructure::Image;
    /// let image = Image { tag: Some("v1.40.1".into()), ..Image::default() };
    /// assert_eq!(image.reference("docker.io/envoyproxy/envoy:v1.40.0"), "docker.io/envoyproxy/envoy:v1.40.1");
    /// ```
    pub fn reference(&self, default: &str) -> String {
        if *self == Self::default() {
            return default.to_owned();
        }
        let parts = Self::parse(default);
        let mut text = String::new();
        if let Some(registry) = self.registry.as_ref().or(parts.registry.as_ref()) {
            text.push_str(registry);
            text.push('/');
        }
        text.push_str(self.repository.as_ref().or(parts.repository.as_ref()).map_or("", String::as_str));
        if let Some(tag) = self.tag.as_ref().or(parts.tag.as_ref()) {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(digest);
        }
        text
    }

    /// The parts of a reference. What stands before the first slash is a registry if it looks like a host.
    fn parse(reference: &str) -> Self {
        let (name, digest) = match reference.split_once('@') {
            Some((name, digest)) => (name, Some(digest.to_owned())),
            None => (reference, None),
        };
        let (registry, rest) = match name.split_once('/') {
            Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => {
                (Some(host.to_owned()), rest)
            }
            _ => (None, name),
        };
        let (repository, tag) = match rest.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag.to_owned())),
            None => (rest, None),
        };
        Self { registry, repository: Some(repository.to_owned()), tag, digest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_replace_those_of_the_default() {
        let part = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let given = |registry, repository, tag, digest| Image {
            registry: part(registry),
            repository: part(repository),
            tag: part(tag),
            digest: part(digest),
        };
        let default = "docker.io/envoyproxy/envoy:v1@sha256:aa";
        for (image, default, expected) in [
            (given("", "", "", ""), default, default),
            (given("", "", "v2", ""), default, "docker.io/envoyproxy/envoy:v2"),
            (given("r.example:5000", "", "", ""), default, "r.example:5000/envoyproxy/envoy:v1"),
            (given("", "mine/envoy", "", ""), default, "docker.io/mine/envoy:v1"),
            (given("", "", "", "sha256:bb"), default, "docker.io/envoyproxy/envoy:v1@sha256:bb"),
            (given("", "", "v2", ""), "localhost/envoy", "localhost/envoy:v2"),
            (given("", "", "v2", ""), "r.example:5000/envoy", "r.example:5000/envoy:v2"),
            (given("ghcr.io", "", "", ""), "envoyproxy/envoy:v1", "ghcr.io/envoyproxy/envoy:v1"),
        ] {
            assert_eq!(image.reference(default), expected);
        }
    }
}
