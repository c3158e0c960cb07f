//! Parses and builds manifests, indexes and image configs. Pure.

use bakery_core::image::Digest;
use bakery_core::names::Arch;
use oci_spec::image::{
    Arch as OciArch, Descriptor, DescriptorBuilder, ImageIndex, ImageIndexBuilder, ImageManifest, MediaType,
    Os, PlatformBuilder, SCHEMA_VERSION, ToDockerV2S2 as _,
};
use serde::Deserialize;

/// Every media type that may be under a tag, in the order of preference.
pub(crate) const MANIFEST_TYPES: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// A manifest or an index, with type, digest and size of its bytes.
#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) content: ManifestContent,
}

/// What a [`Manifest`] holds.
#[derive(Debug, Clone)]
pub(crate) enum ManifestContent {
    /// One image.
    Image(Box<ImageManifest>),
    /// Several images.
    Index(Box<ImageIndex>),
}

/// The part of an image's config that names its platform.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct ImagePlatform {
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) variant: Option<String>,
}

/// One image of an index, read and checked.
#[derive(Debug, Clone)]
pub(crate) struct IndexEntry {
    pub(crate) manifest: Manifest,
    pub(crate) arch: Arch,
    pub(crate) variant: Option<String>,
}

impl Manifest {
    /// Reads a manifest. Its own media type takes precedence over `content_type`, the response's header. The error is the
    /// end of a sentence.
    pub(crate) fn read(content_type: Option<&str>, bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Head {
            #[serde(default, rename = "mediaType")]
            media_type: Option<String>,
        }
        let broken = |error: serde_json::Error| format!("not a valid manifest: {error}");
        let head: Head = serde_json::from_slice(bytes).map_err(broken)?;
        let header = content_type.map(|value| value.split(';').next().unwrap_or_default().trim().to_owned());
        let media_type = head.media_type.or(header).unwrap_or_default();
        let content = match media_type.as_str() {
            "application/vnd.oci.image.index.v1+json"
            | "application/vnd.docker.distribution.manifest.list.v2+json" => {
                ManifestContent::Index(Box::new(serde_json::from_slice(bytes).map_err(broken)?))
            }
            "application/vnd.oci.image.manifest.v1+json"
            | "application/vnd.docker.distribution.manifest.v2+json" => {
                ManifestContent::Image(Box::new(serde_json::from_slice(bytes).map_err(broken)?))
            }
            other => return Err(format!("the media type `{other}` is neither an image nor an index")),
        };
        Ok(Self { media_type, digest: Digest::of(bytes), size: bytes.len() as u64, content })
    }
}

/// The architecture of a platform named as in the OCI specification; `None` where Bakery does not build for it.
pub(crate) fn arch_of(os: &str, architecture: &str) -> Option<Arch> {
    architecture.parse().ok().filter(|_| os == "linux")
}

/// The first manifest in an index of each architecture that Bakery builds for.
pub(crate) fn platforms(index: &ImageIndex) -> Vec<(Arch, Digest)> {
    let mut found: Vec<(Arch, Digest)> = Vec::new();
    for descriptor in index.manifests() {
        let Some(platform) = descriptor.platform() else { continue };
        let arch = arch_of(&platform.os().to_string(), &platform.architecture().to_string());
        let digest = descriptor.digest().to_string().parse().ok();
        if let (Some(arch), Some(digest)) = (arch, digest)
            && found.iter().all(|(known, _)| *known != arch)
        {
            found.push((arch, digest));
        }
    }
    found
}

/// The index of these images: its media type and its bytes, always the same for the same images in the same order.
///
/// It is a Docker manifest list where every image is in Docker's format, since old readers of those support nothing else;
/// otherwise an OCI index. The media type is always part of it: without it some readers take an OCI index for a Docker
/// list.
pub(crate) fn index(entries: &[IndexEntry]) -> Result<(String, Vec<u8>), String> {
    let docker_image = MediaType::ImageManifest.to_docker_v2s2().map_err(|error| error.to_string())?;
    let docker_list = MediaType::ImageIndex.to_docker_v2s2().map_err(|error| error.to_string())?;
    let all_docker = entries.iter().all(|entry| entry.manifest.media_type == docker_image);
    let media_type = if all_docker { MediaType::from(docker_list) } else { MediaType::ImageIndex };
    let manifests = entries.iter().map(descriptor).collect::<Result<Vec<_>, _>>()?;
    let index = ImageIndexBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(media_type.clone())
        .manifests(manifests)
        .build()
        .map_err(|error| error.to_string())?;
    let bytes = serde_json::to_vec(&index).map_err(|error| error.to_string())?;
    Ok((media_type.to_string(), bytes))
}

fn descriptor(entry: &IndexEntry) -> Result<Descriptor, String> {
    let architecture = match entry.arch {
        Arch::Amd64 => OciArch::Amd64,
        Arch::Arm64 => OciArch::ARM64,
    };
    let mut platform = PlatformBuilder::default().os(Os::Linux).architecture(architecture);
    if let Some(variant) = &entry.variant {
        platform = platform.variant(variant.clone());
    }
    let digest: oci_spec::image::Digest =
        entry.manifest.digest.as_str().parse().map_err(|error| format!("{error}"))?;
    DescriptorBuilder::default()
        .media_type(entry.manifest.media_type.as_str())
        .digest(digest)
        .size(entry.manifest.size)
        .platform(platform.build().map_err(|error| error.to_string())?)
        .build()
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
    const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";

    fn entry(media_type: &str, arch: Arch, variant: Option<&str>) -> IndexEntry {
        let config = Digest::of(arch.as_str().as_bytes());
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{media_type}","config":{{"mediaType":"x/y","digest":"{config}","size":3}},"layers":[]}}"#
        );
        let manifest = Manifest::read(None, text.as_bytes()).unwrap();
        IndexEntry { manifest, arch, variant: variant.map(str::to_owned) }
    }

    fn text(entries: &[IndexEntry]) -> (String, serde_json::Value) {
        let (media_type, bytes) = index(entries).unwrap();
        (media_type, serde_json::from_slice(&bytes).unwrap())
    }

    #[test]
    fn an_index_of_oci_images() {
        let entries = [entry(OCI, Arch::Amd64, None), entry(OCI, Arch::Arm64, Some("v8"))];
        let (media_type, json) = text(&entries);
        assert_eq!(media_type, "application/vnd.oci.image.index.v1+json");
        insta::assert_json_snapshot!(json, @r#"
        {
          "manifests": [
            {
              "digest": "sha256:7d31c91f64fab45d35e0d0da2a7fdf2c5fa456b8534cea8e2c1f17ea30e761ec",
              "mediaType": "application/vnd.oci.image.manifest.v1+json",
              "platform": {
                "architecture": "amd64",
                "os": "linux"
              },
              "size": 209
            },
            {
              "digest": "sha256:9026e1265bf951341ce629a23e39499be4073e713dec90e68cf45ad7cccecabe",
              "mediaType": "application/vnd.oci.image.manifest.v1+json",
              "platform": {
                "architecture": "arm64",
                "os": "linux",
                "variant": "v8"
              },
              "size": 209
            }
          ],
          "mediaType": "application/vnd.oci.image.index.v1+json",
          "schemaVersion": 2
        }
        "#);
    }

    #[test]
    fn docker_images_make_a_docker_list_and_a_mixture_an_oci_index() {
        let (docker, json) = text(&[entry(DOCKER, Arch::Amd64, None), entry(DOCKER, Arch::Arm64, None)]);
        assert_eq!(docker, "application/vnd.docker.distribution.manifest.list.v2+json");
        assert_eq!(json["mediaType"], docker, "the type is written down");
        let (mixed, _) = text(&[entry(DOCKER, Arch::Amd64, None), entry(OCI, Arch::Arm64, None)]);
        assert_eq!(mixed, "application/vnd.oci.image.index.v1+json");
    }

    #[test]
    fn an_index_is_read_back_as_written_and_is_reproducible() {
        let entries =
            [entry(OCI, Arch::Amd64, None), entry(OCI, Arch::Arm64, None), entry(OCI, Arch::Arm64, None)];
        let (media_type, bytes) = index(&entries).unwrap();
        assert_eq!((media_type.clone(), bytes.clone()), index(&entries).unwrap());
        let read = Manifest::read(Some("text/plain"), &bytes).unwrap();
        let ManifestContent::Index(index) = read.content else { panic!("not an index") };
        assert_eq!(index.manifests().len(), 3, "an architecture may appear twice");
        let found: Vec<_> = platforms(&index).into_iter().map(|(arch, _)| arch).collect();
        assert_eq!(found, [Arch::Amd64, Arch::Arm64]);
    }

    #[test]
    fn only_images_and_indexes_are_read() {
        let no_type = br#"{"schemaVersion":2,"manifests":[]}"#;
        assert!(
            Manifest::read(Some("application/vnd.oci.image.index.v1+json; charset=utf-8"), no_type).is_ok()
        );
        for (content_type, bytes) in
            [(None, &no_type[..]), (Some(OCI), b"<html>"), (Some("application/vnd.oci.empty.v1+json"), b"{}")]
        {
            assert!(Manifest::read(content_type, bytes).is_err());
        }
    }
}
