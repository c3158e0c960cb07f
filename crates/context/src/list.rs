//! Lists what is packed of a source folder, and what is left out.

use std::io;

use bakery_core::message::Message;

use crate::byte_path::display;
use crate::folder_sizes::{FolderSizes, LargeFolder};
use crate::header::{Header, Kind};
use crate::notices::Notices;
use crate::pack_error::PackError;
use crate::rules::{RuleLine, Rules};
use crate::source_tree::SourceTree;
use crate::walk::{Content, LeftOut, Visitor, Walk};

/// An entry of a source folder. Its path is relative to the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// A folder that is packed.
    Folder {
        /// Its path, with a slash at the end.
        path: String,
    },
    /// A file that is packed.
    File {
        /// Its path.
        path: String,
        /// Its size.
        bytes: u64,
    },
    /// A link that is packed.
    Link {
        /// Its path.
        path: String,
        /// As it is packed.
        target: String,
    },
    /// What is left out.
    LeftOut {
        /// Its path; with a slash at the end for a folder, of which everything is left out.
        path: String,
        /// Why.
        reason: Reason,
    },
}

/// Why something is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Lines of ignore files, one of each context that contains it.
    Rules(Vec<RuleLine>),
    /// It is `.git`, and [`SourceTree::git`] is not set.
    Git,
    /// It may hold credentials of git.
    Credentials,
}

/// The whole of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Bytes of the files that are packed.
    pub bytes: u64,
    /// The folders that hold most of these bytes, three at most, largest first.
    pub largest: Vec<LargeFolder>,
    /// What was left out or changed while the folder was read.
    pub notices: Vec<Message>,
}

/// Lists what [`crate::pack`] would pack and leave out, in the order of the archive. An error of `show` ends the list as a
/// [`PackError::Write`]. Blocks; memory is bounded whatever the size of the tree.
pub fn list(
    source: &SourceTree<'_>,
    show: &mut dyn FnMut(Listed) -> io::Result<()>,
) -> Result<Listing, PackError> {
    let rules = Rules::read(source.root, source.contexts)?;
    let mut lister = Lister { show, bytes: 0, sizes: FolderSizes::default() };
    let notices = Walk::new(source, &rules, &mut lister).run()?.into_messages();
    let Lister { bytes, sizes, .. } = lister;
    Ok(Listing { bytes, largest: sizes.finish(), notices })
}

struct Lister<'l> {
    show: &'l mut dyn FnMut(Listed) -> io::Result<()>,
    bytes: u64,
    sizes: FolderSizes,
}

impl Visitor for Lister<'_> {
    fn entry(&mut self, header: &Header, _: Option<Content>, _: &mut Notices) -> Result<(), PackError> {
        let path = display(&header.name);
        let (listed, bytes) = match &header.kind {
            Kind::File { size } => (Listed::File { path, bytes: *size }, *size),
            Kind::Link { target } => (Listed::Link { path, target: display(target) }, 0),
            Kind::Folder => (Listed::Folder { path }, 0),
        };
        self.sizes.add(&header.name, bytes);
        self.bytes += bytes;
        (self.show)(listed).map_err(PackError::Write)
    }

    fn left_out(&mut self, path: &[u8], why: &LeftOut<'_>) -> Result<(), PackError> {
        let reason = match why {
            LeftOut::ByRules(rules, scope) => {
                let entry = path.strip_suffix(b"/").unwrap_or(path);
                Reason::Rules(rules.excluding(scope, entry).collect())
            }
            LeftOut::AsGit => Reason::Git,
            LeftOut::AsCredentials => Reason::Credentials,
        };
        (self.show)(Listed::LeftOut { path: display(path), reason }).map_err(PackError::Write)
    }
}
