//! What goes to another machine to be signed there, and what comes back: blocks of text (RFC 7468).
//!
//! A request holds the proposed files and those of now, so that whoever signs sees for themselves what they sign: the machine that made the
//! request is not believed.

use data_encoding::BASE64;

use crate::approval::Approval;
use crate::approver::ApproverSet;
use crate::change::{Change, ChangeId};
use crate::content::Content;
use crate::hash::Hash;
use crate::key::pem;
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
    /// The files of now.
    pub base: Content,
    /// The proposed approvers.
    pub approvers: ApproverSet,
}

const REQUEST: &str = "PORTCULLIS CHANGE REQUEST";
const APPROVAL: &str = "PORTCULLIS APPROVAL";
const REQUEST_DOMAIN: &str = "portcullis-request-v1";
const APPROVAL_DOMAIN: &str = "portcullis-signed-v1";

impl Request {
    /// The request as a block of text.
    pub fn armored(&self) -> String {
        let mut writer = Writer::new(REQUEST_DOMAIN);
        writer.hash(self.instance);
        writer.bytes(&self.change.encode());
        writer.bytes(&self.content.encode());
        writer.bytes(&self.base.encode());
        writer.bytes(&self.approvers.encode());
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
            base: Content::decode(parser.bytes()?)?,
            approvers: ApproverSet::decode(parser.bytes()?)?,
        };
        parser.end()?;
        let same =
            request.content.hash() == request.change.content && request.approvers.hash() == request.change.approvers;
        if same { Ok(request) } else { Err(Malformed) }
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
