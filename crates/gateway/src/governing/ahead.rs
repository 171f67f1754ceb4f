//! Configurations that are read before the governor is taken. What is not governed (certificates, keys, pages) is read from the disk, and a disk that hangs
//! would else hold everybody who looks, lends power or takes something back.
//!
//! They are kept for the thread that has read them, for as long as it does one thing: what is asked of a content with the governor held is answered from that.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use portcullis_config::Loaded;
use portcullis_governance::{Content, Hash};

use super::source::{in_a_line, load_sealed};

/// A configuration as it was read, or why it cannot be.
type Read = Rc<Result<Loaded, String>>;

thread_local! {
    static READ: RefCell<Vec<(PathBuf, Hash, Read)>> = const { RefCell::new(Vec::new()) };
}

/// While it lives this thread has read these contents. It stays on its thread.
#[must_use]
pub(super) struct Ahead {
    before: usize,
    _here: PhantomData<*const ()>,
}

impl Ahead {
    /// Reads them, as the gateway on this file would.
    pub(super) fn of<'c>(config: &Path, contents: impl IntoIterator<Item = &'c Content>) -> Self {
        let before = READ.with_borrow(Vec::len);
        for content in contents {
            let hash = content.hash();
            if known(config, hash).is_none() {
                let loaded = Rc::new(load_sealed(config, content).map_err(|report| in_a_line(&report)));
                READ.with_borrow_mut(|read| read.push((config.to_owned(), hash, loaded)));
            }
        }
        Self { before, _here: PhantomData }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        READ.with_borrow_mut(|read| read.truncate(self.before));
    }
}

fn known(config: &Path, hash: Hash) -> Option<Read> {
    READ.with_borrow(|read| {
        let found = read.iter().find(|(of, content, _)| (of.as_path(), *content) == (config, hash));
        found.map(|(_, _, loaded)| Rc::clone(loaded))
    })
}

/// A content as it was read ahead, or as it is read now.
pub(super) fn read(config: &Path, content: &Content) -> Read {
    let known = READ.with_borrow(Vec::is_empty);
    let known = if known { None } else { self::known(config, content.hash()) };
    known.unwrap_or_else(|| {
        #[cfg(test)]
        super::tests::beside::note_read();
        Rc::new(load_sealed(config, content).map_err(|report| in_a_line(&report)))
    })
}
