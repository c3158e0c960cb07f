//! What was pushed, and the proof of it.

use bakery_core::image::{Digest, ImageRef};
use bakery_core::reason::Reason;
use bakery_core::wire::run::{Push, TaskOrder};
use serde::Deserialize;

use crate::failure::Failure;
use crate::layout::Layout;

/// One line of `$BUILDER_OUTPUT/images`: an image that Kaniko has finished pushing, cache layers included.
#[derive(Deserialize)]
struct Pushed {
    name: String,
    digest: String,
}

/// Refuses an order that this version cannot carry out.
pub fn check(order: &TaskOrder) -> Result<(), Failure> {
    match order.push {
        Push::ByKaniko => Ok(()),
        Push::ByAgent => {
            let text = "the order says that the agent pushes, which this agent's Kaniko cannot do";
            let hint = "use the agent image of the server's own version";
            Err(Failure::new(Reason::Internal, text).hint(hint))
        }
    }
}

/// The digest of this task's image, after Kaniko has ended with 0.
///
/// With a destination only what Kaniko says to have pushed *there* counts: the digest file is written before the push,
/// and for cache layers too. Without a push the digest file is all there is; after exit code 0 it describes the image.
pub fn proof(order: &TaskOrder, layout: &Layout) -> Result<Digest, Failure> {
    let none = |text: String| Failure::new(Reason::NoDigest, text);
    match &order.push_to {
        Some(destination) if !order.kaniko.no_push => {
            let file = layout.output().join("images");
            let text = std::fs::read_to_string(&file).map_err(|error| {
                none(format!("Kaniko ended with 0 and left no list of what it pushed ({error})"))
            })?;
            pushed(&text, destination).ok_or_else(|| {
                none(format!("Kaniko ended with 0 and its list of pushed images does not name {destination}"))
            })
        }
        _ => {
            let text = std::fs::read_to_string(layout.digest())
                .map_err(|error| none(format!("Kaniko ended with 0 and left no digest ({error})")))?;
            text.trim().parse().map_err(|error| none(format!("Kaniko ended with 0, but {error}")))
        }
    }
}

/// The last digest that was pushed under `destination`. Names are compared as registries understand them.
fn pushed(list: &str, destination: &ImageRef) -> Option<Digest> {
    list.lines()
        .filter_map(|line| serde_json::from_str::<Pushed>(line).ok())
        .filter(|pushed| {
            pushed.name.parse::<ImageRef>().is_ok_and(|name| {
                name.name() == destination.name() && name.tag_or_latest() == destination.tag_or_latest()
            })
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
    fn only_our_own_destination_counts_and_its_last_push() {
        let list = [
            line("reg.test/shop/cache:abc", &digest(1)),
            line("index.docker.io/library/cart:latest", &digest(2)),
            line("cart", &digest(3)),
            "{\"name\":\"cart\"".to_owned(),
        ];
        let list = list.concat();
        assert_eq!(pushed(&list, &"docker.io/library/cart:latest".parse().unwrap()), Some(digest(3)));
        assert_eq!(pushed(&list, &"reg.test/shop/cache:abc".parse().unwrap()), Some(digest(1)));
        assert_eq!(pushed(&list, &"reg.test/shop/cache".parse().unwrap()), None);
        assert_eq!(pushed("", &"cart".parse().unwrap()), None);
    }
}
