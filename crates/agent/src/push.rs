//! The digest of the pushed image, read from Kaniko's output files.

use bakery_context::read_regular_file;
use bakery_core::image::{Digest, ImageRef};
use bakery_core::reason::Reason;
use bakery_core::wire::run::{Push, TaskOrder};
use serde::Deserialize;

use crate::failure::Failure;
use crate::layout::Layout;

/// Most bytes of Kaniko's list of pushed images: one line for each layer of a cache, and for the image.
const LIST_BYTES: u64 = 4 << 20;
/// Most bytes of the digest file.
const DIGEST_BYTES: u64 = 1 << 10;

/// One line of `$BUILDER_OUTPUT/images`: an image that Kaniko has pushed, which includes cache layers.
#[derive(Deserialize)]
struct PushedImage {
    name: String,
    digest: String,
}

/// Fails for an order that this version of the agent cannot carry out.
pub fn check(order: &TaskOrder) -> Result<(), Failure> {
    match order.push {
        Push::ByKaniko => Ok(()),
        Push::ByAgent => {
            let text =
                "the order has the agent push the image, which this version of the agent does not support";
            let hint = "use the agent image of the server's version";
            Err(Failure::new(Reason::Internal, text).with_hint(hint))
        }
    }
}

/// The digest of this task's image, after Kaniko exited with 0 and every process of the build was ended: one of them could
/// change what is read here. What it may have written before that is for the server to find out, from the registry.
///
/// With a destination, the digest is taken from Kaniko's list of pushed images, which must have it under every name: the
/// digest file is written before the push, and for cache layers too. Without a push there is only the digest file; after exit code 0 it is the image's.
pub fn digest(order: &TaskOrder, layout: &Layout) -> Result<Digest, Failure> {
    let mut names = order.pushed_names();
    if let Some(first) = names.next() {
        let list = read_regular_file(&layout.output().join("images"), LIST_BYTES).map_err(|error| {
            no_digest(format!("Kaniko exited with 0, but its list of pushed images {error}"))
        })?;
        return of_list(first, names, &String::from_utf8_lossy(&list));
    }
    let digest = read_regular_file(&layout.digest(), DIGEST_BYTES)
        .map_err(|error| no_digest(format!("Kaniko exited with 0, but its digest file {error}")))?;
    let digest = String::from_utf8_lossy(&digest);
    digest.trim().parse().map_err(|error| no_digest(format!("Kaniko exited with 0, but {error}")))
}

fn no_digest(text: String) -> Failure {
    Failure::new(Reason::NoDigest, text)
}

/// The digest that Kaniko has pushed under each of the names.
fn of_list<'a>(
    first: &ImageRef,
    others: impl Iterator<Item = &'a ImageRef>,
    list: &str,
) -> Result<Digest, Failure> {
    let pushed = |name: &ImageRef| {
        last_pushed(list, name).ok_or_else(|| {
            no_digest(format!("Kaniko exited with 0, but its list of pushed images does not contain {name}"))
        })
    };
    let digest = pushed(first)?;
    for name in others {
        let other = pushed(name)?;
        if other != digest {
            return Err(no_digest(format!("Kaniko pushed {digest} as {first}, but {other} as {name}")));
        }
    }
    Ok(digest)
}

/// The last digest that was pushed to `destination`. Names are compared in their normalized form.
fn last_pushed(list: &str, destination: &ImageRef) -> Option<Digest> {
    list.lines()
        .filter_map(|line| serde_json::from_str::<PushedImage>(line).ok())
        .filter(|pushed| {
            pushed.name.parse::<ImageRef>().is_ok_and(|name| name.tagged() == destination.tagged())
        })
        .filter_map(|pushed| pushed.digest.parse().ok())
        .next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(byte: u8) -> Digest {
        Digest::from_sha256(&[byte; 32])
    }

    fn line(name: &str, digest: &Digest) -> String {
        format!("{{\"name\":\"{name}\",\"digest\":\"{digest}\"}}\n")
    }

    #[test]
    fn the_last_push_to_the_destination_counts() {
        let list = [
            line("reg.test/shop/cache:abc", &digest(1)),
            line("index.docker.io/library/cart:latest", &digest(2)),
            line("cart", &digest(3)),
            "{\"name\":\"cart\"".to_owned(),
        ];
        let list = list.concat();
        assert_eq!(last_pushed(&list, &"docker.io/library/cart:latest".parse().unwrap()), Some(digest(3)));
        assert_eq!(last_pushed(&list, &"reg.test/shop/cache:abc".parse().unwrap()), Some(digest(1)));
        assert_eq!(last_pushed(&list, &"reg.test/shop/cache".parse().unwrap()), None);
        assert_eq!(last_pushed("", &"cart".parse().unwrap()), None);
    }

    #[test]
    fn every_name_must_have_the_same_digest() {
        let [a, b]: [ImageRef; 2] = ["reg.test/a:1", "o.test/b:2"].map(|text| text.parse().unwrap());
        let list = |lines: &[String]| of_list(&a, [&b].into_iter(), &lines.concat());
        let one = line("reg.test/a:1", &digest(1));
        assert_eq!(list(&[one.clone(), line("o.test/b:2", &digest(1))]).unwrap(), digest(1));
        assert!(list(std::slice::from_ref(&one)).is_err());
        assert!(list(&[one, line("o.test/b:2", &digest(2))]).is_err());
    }
}
