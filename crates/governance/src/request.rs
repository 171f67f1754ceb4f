//! What goes to another machine to be signed there, and what comes back: blocks of text (RFC 7468).
//!
//! A request holds the proposed files, those of now, and what was foreseen of the impact, so that whoever signs sees for themselves what they sign. The
//! machine that made the request is not believed: each part is held to a hash that is signed. Of the version that would be changed that is the hash of its
//! record, which says what its files and approvers are.

use data_encoding::BASE64;

use crate::approval::Approval;
use crate::approver::ApproverSet;
use crate::change::{Change, ChangeId, Rules};
use crate::content::Content;
use crate::hash::Hash;
use crate::key::pem;
use crate::recovery;
use crate::version::Version;
use crate::wire::{Malformed, Parser, Writer};

/// A request to approve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Which gateway.
    pub instance: Hash,
    /// What is proposed.
    pub change: Change,
    /// The proposed files.
    pub content: Content,
    /// What is live; `None`: nothing was ever.
    pub base: Option<Base>,
    /// The proposed approvers; of a recovery those that there are once its delay is over.
    pub approvers: ApproverSet,
    /// The report on what was foreseen of its impact; empty where nobody looked.
    pub impact: Vec<u8>,
}

/// The version that would be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// The version.
    pub version: Version,
    /// Its files.
    pub content: Content,
    /// Who may approve since then.
    pub approvers: ApproverSet,
}

const REQUEST: &str = "PORTCULLIS CHANGE REQUEST";
const APPROVAL: &str = "PORTCULLIS APPROVAL";
const REQUEST_DOMAIN: &str = "portcullis-request-v2";
const APPROVAL_DOMAIN: &str = "portcullis-signed-v1";

impl Request {
    /// The request as a block of text.
    pub fn armored(&self) -> String {
        let mut writer = Writer::new(REQUEST_DOMAIN);
        writer.hash(self.instance);
        writer.bytes(&self.change.encode());
        writer.bytes(&self.content.encode());
        writer.bytes(&self.approvers.encode());
        writer.bytes(&self.impact);
        let base: Vec<&Base> = self.base.iter().collect();
        writer.list(&base, |writer, base| {
            writer.bytes(&base.version.encode());
            writer.bytes(&base.content.encode());
            writer.bytes(&base.approvers.encode());
        });
        pem(REQUEST, &writer.finish())
    }

    /// Reads that. What is in it is held to the hashes that would be signed.
    ///
    /// # Errors
    /// When it is something else.
    pub fn from_armored(text: &str) -> Result<Self, Malformed> {
        let bytes = unarmored(REQUEST, text)?;
        let mut parser = Parser::new(&bytes, REQUEST_DOMAIN)?;
        let request = Self {
            instance: parser.hash()?,
            change: Change::decode(parser.bytes()?)?,
            content: Content::decode(parser.bytes()?)?,
            approvers: ApproverSet::decode(parser.bytes()?)?,
            impact: parser.bytes()?.to_vec(),
            base: parser.list(1, Base::read)?.pop(),
        };
        parser.end()?;
        if request.is_what_is_signed() { Ok(request) } else { Err(Malformed) }
    }

    /// Whether all that is shown has the hashes that are signed.
    fn is_what_is_signed(&self) -> bool {
        let change = &self.change;
        let impact = if self.impact.is_empty() { Hash::NONE } else { Hash::of(&self.impact) };
        let base = match &self.base {
            None => change.base_n == 0 && change.base.is_none() && self.instance.is_none(),
            Some(Base { version, content, approvers }) => {
                (version.n, version.hash(), version.instance_after()) == (change.base_n, change.base, self.instance)
                    && (content.hash(), approvers.hash()) == (version.change.content, version.change.approvers)
            }
        };
        base && impact == change.impact
            && (self.content.hash(), self.approvers.hash()) == (change.content, recovery::means(change))
    }

    /// What is demanded of a change now.
    pub fn rules(&self) -> Rules {
        self.base.as_ref().map_or_else(Rules::default, |base| base.version.rules())
    }
}

impl Base {
    fn read(parser: &mut Parser<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            version: Version::decode(parser.bytes()?)?,
            content: Content::decode(parser.bytes()?)?,
            approvers: ApproverSet::decode(parser.bytes()?)?,
        })
    }
}

/// An approval as a block of text, with the change that it is of.
pub fn armored_approval(id: ChangeId, approval: &Approval) -> String {
    let mut writer = Writer::new(APPROVAL_DOMAIN);
    writer.fixed(&id.0);
    writer.bytes(&approval.encode());
    pem(APPROVAL, &writer.finish())
}

/// Reads that.
///
/// # Errors
/// When it is something else.
pub fn parse_approval(text: &str) -> Result<(ChangeId, Approval), Malformed> {
    let bytes = unarmored(APPROVAL, text)?;
    let mut parser = Parser::new(&bytes, APPROVAL_DOMAIN)?;
    let id = ChangeId(parser.array()?);
    let approval = Approval::decode(parser.bytes()?)?;
    parser.end()?;
    Ok((id, approval))
}

pub(crate) fn unarmored(label: &str, text: &str) -> Result<Vec<u8>, Malformed> {
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----")).ok_or(Malformed)?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----")).ok_or(Malformed)?;
    let body: String = body.chars().filter(|character| !character.is_ascii_whitespace()).collect();
    BASE64.decode(body.as_bytes()).map_err(|_| Malformed)
}
