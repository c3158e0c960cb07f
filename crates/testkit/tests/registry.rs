//! The registry client against a real registry: Debian's docker-registry, which checks every login and token itself.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use bakery_core::image::{Digest, ImageRef};
use bakery_core::names::Arch;
use bakery_core::reason::Reason;
use bakery_core::spec::Credential;
use bakery_registry::{Member, Registry as Client, RegistryError, RegistrySettings};
use bakery_testkit::issuer::{Issuer, User};
use bakery_testkit::registry::{LOGIN, Registry, basic_auth};
use bakery_testkit::vars;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
const REPOSITORY: &str = "shop/cart";

fn program() -> PathBuf {
    vars::REGISTRY_BIN.required().into()
}

fn client() -> Client {
    Client::new(RegistrySettings { loopback_http: true, ..RegistrySettings::default() })
}

fn credential(registry: &Registry, username: &str, password: &str) -> Vec<Credential> {
    let (registry, username) = (registry.host.clone(), username.to_owned());
    vec![Credential { registry, username, password: password.into() }]
}

/// Pushes to the registry as a preparation, without our client.
struct Scene<'a> {
    registry: &'a Registry,
    authorization: Option<String>,
    http: reqwest::Client,
}

impl Scene<'_> {
    fn request(&self, method: reqwest::Method, url: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, url);
        match &self.authorization {
            Some(authorization) => request.header("authorization", authorization),
            None => request,
        }
    }

    async fn blob(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        let url = format!("http://{}/v2/{REPOSITORY}/blobs/uploads/", self.registry.host);
        let begun = self.request(reqwest::Method::POST, &url).send().await?.error_for_status()?;
        let location = begun.headers().get("location").context("no location")?.to_str()?;
        let join = if location.contains('?') { '&' } else { '?' };
        let request = self.request(reqwest::Method::PUT, &format!("{location}{join}digest={digest}"));
        request.body(bytes.to_vec()).send().await?.error_for_status()?;
        Ok(digest)
    }

    /// An image without layers.
    async fn image(&self, arch: Arch, media_type: &str) -> Result<Member> {
        let rootfs = json!({ "type": "layers", "diff_ids": [] });
        let config = json!({ "os": "linux", "architecture": arch, "rootfs": rootfs }).to_string();
        let digest = self.blob(config.as_bytes()).await?;
        let config_type = match media_type {
            DOCKER => "application/vnd.docker.container.image.v1+json",
            _ => "application/vnd.oci.image.config.v1+json",
        };
        let config = json!({ "mediaType": config_type, "digest": digest, "size": config.len() });
        let manifest = json!({ "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [] })
            .to_string();
        let image = self.destination().for_arch(arch, 1);
        let tag = image.tag_or_latest();
        let url = format!("http://{}/v2/{REPOSITORY}/manifests/{tag}", self.registry.host);
        let digest = Digest::of(manifest.as_bytes());
        let request = self.request(reqwest::Method::PUT, &url).header("content-type", media_type);
        request.body(manifest).send().await?.error_for_status()?;
        Ok(Member { image, digest, arch })
    }

    fn destination(&self) -> ImageRef {
        ImageRef {
            registry: self.registry.host.clone(),
            repository: REPOSITORY.to_owned(),
            tag: Some("7".to_owned()),
            digest: None,
        }
    }

    async fn members(&self, media_type: &str) -> Result<Vec<Member>> {
        Ok(vec![self.image(Arch::Amd64, media_type).await?, self.image(Arch::Arm64, media_type).await?])
    }
}

fn scene(registry: &Registry, authorization: Option<String>) -> Scene<'_> {
    Scene { registry, authorization, http: reqwest::Client::new() }
}

/// The manifest of the destination, as skopeo reads it.
async fn read_back(image: &ImageRef) -> Result<(Digest, Value)> {
    let skopeo = vars::SKOPEO.required();
    let output = tokio::process::Command::new(skopeo)
        .args(["inspect", "--raw", "--tls-verify=false", &format!("docker://{image}")])
        .output()
        .await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok((Digest::of(&output.stdout), serde_json::from_slice(&output.stdout)?))
}

#[tokio::test]
async fn an_index_of_either_kind_is_published_and_read_by_others() -> Result<()> {
    let registry = Registry::on_loopback(&program()).await?;
    let scene = scene(&registry, None);
    for (media_type, list_type) in [
        (OCI, "application/vnd.oci.image.index.v1+json"),
        (DOCKER, "application/vnd.docker.distribution.manifest.list.v2+json"),
    ] {
        let (members, destination) = (scene.members(media_type).await?, scene.destination());
        let client = client();
        let digest = client.publish_index(&destination, &members, &[], &CancellationToken::new()).await?;
        let again = client.publish_index(&destination, &members, &[], &CancellationToken::new()).await?;
        ensure!(digest == again, "the same images make the same index");
        let (read, index) = read_back(&destination).await?;
        ensure!(read == digest && index["mediaType"] == list_type, "{index}");
        ensure!(index["manifests"][1]["platform"]["architecture"] == "arm64", "{index}");
        let platforms = client.platforms_of(&destination, &[]).await?;
        let expected: BTreeMap<_, _> =
            members.iter().map(|member| (member.arch, member.digest.clone())).collect();
        ensure!(platforms == expected);
    }
    Ok(())
}

#[tokio::test]
async fn nothing_is_published_of_an_incomplete_set() -> Result<()> {
    let registry = Registry::on_loopback(&program()).await?;
    let scene = scene(&registry, None);
    let (mut members, destination) = (scene.members(OCI).await?, scene.destination());
    members[1].digest = Digest::of(b"never pushed");
    let missing = client().publish_index(&destination, &members, &[], &CancellationToken::new()).await;
    ensure!(missing.is_err_and(|error| error.reason == Reason::PushRefused));
    members[1].digest = members[0].digest.clone();
    let wrong = client().publish_index(&destination, &members, &[], &CancellationToken::new()).await;
    ensure!(wrong.is_err_and(|error| error.reason == Reason::WrongArch));
    ensure!(client().digest_of(&destination, &[]).await?.is_none(), "the destination points at nothing");
    Ok(())
}

#[tokio::test]
async fn user_and_password_are_checked_by_the_registry() -> Result<()> {
    let registry = Registry::guarded(&program(), basic_auth).await?;
    let encoded = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        format!("{}:{}", LOGIN.0, LOGIN.1),
    );
    let scene = scene(&registry, Some(format!("Basic {encoded}")));
    let (members, destination) = (scene.members(OCI).await?, scene.destination());
    let publish = async |creds: &[Credential]| {
        client().publish_index(&destination, &members, creds, &CancellationToken::new()).await
    };
    publish(&credential(&registry, LOGIN.0, LOGIN.1)).await?;
    for wrong in [credential(&registry, LOGIN.0, "stale"), Vec::new()] {
        let error = publish(&wrong).await;
        ensure!(error.is_err_and(|error| error.reason == Reason::CredentialsRefused));
    }
    Ok(())
}

#[tokio::test]
async fn tokens_are_checked_by_the_registry() -> Result<()> {
    let users = BTreeMap::from([
        ("baker".to_owned(), User::new("right", &["pull", "push"])),
        ("reader".to_owned(), User::new("right", &["pull"])),
        ("nobody".to_owned(), User::new("right", &[])),
        ("late".to_owned(), User { seconds: -120, ..User::new("right", &["pull", "push"]) }),
        (
            "lost".to_owned(),
            User { audience: "elsewhere".to_owned(), ..User::new("right", &["pull", "push"]) },
        ),
    ]);
    let issuer = Issuer::start(users).await?;
    let registry = Registry::guarded(&program(), |folder| issuer.registry_config(folder)).await?;
    let scene = scene(&registry, Some(format!("Bearer {}", issuer.token(REPOSITORY)?)));
    let (members, destination) = (scene.members(OCI).await?, scene.destination());
    let publish = async |user: &str, password: &str| -> Result<Digest, RegistryError> {
        client()
            .publish_index(
                &destination,
                &members,
                &credential(&registry, user, password),
                &CancellationToken::new(),
            )
            .await
    };
    // None of these may push anything, so they come first.
    for (user, password, why) in [
        ("reader", "right", "may read, but not push"),
        ("nobody", "right", "has a token for nothing"),
        ("late", "right", "has an expired token"),
        ("lost", "right", "has a token for another registry"),
        ("baker", "wrong", "gives a wrong password"),
        ("stranger", "right", "is not known"),
    ] {
        let Err(error) = publish(user, password).await else { anyhow::bail!("{user} {why}, and published") };
        ensure!(error.reason == Reason::CredentialsRefused, "{user} {why}: {error:?}");
        ensure!(error.text.contains(user) && error.text.contains(&registry.host), "{error}");
        ensure!(error.hint.as_deref().is_some_and(|hint| hint.contains("kaniko-credentials")), "{error:?}");
    }
    let baker = credential(&registry, "baker", "right");
    ensure!(client().digest_of(&destination, &baker).await?.is_none());
    let digest = publish("baker", "right").await?;
    ensure!(client().digest_of(&destination, &baker).await?.as_ref() == Some(&digest));
    let scope = format!("repository:{REPOSITORY}:pull,push");
    ensure!(issuer.asked().contains(&scope), "{:?}", issuer.asked());
    Ok(())
}
