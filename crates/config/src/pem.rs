//! PEM files (RFC 7468) that a configuration names.

use portcullis_proxy::tls::material::MaterialError;

use crate::codes;
use crate::diagnostics::{At, Diagnostic};
use crate::document::{FileToRead, MAX_KEY_SET, read_material};
use crate::kinds::ResolvedPath;
use crate::section::Reader;

/// The same of certificates by which others are known: they are part of what is governed.
pub(crate) fn read_pinned_pem<T>(
    reader: &Reader<'_>,
    key: &str,
    file: &At<ResolvedPath>,
    parse: impl FnOnce(&[u8]) -> Result<T, MaterialError>,
) -> Option<T> {
    read_pem(reader, key, file, |bytes| {
        reader.pin(&file.value.path, bytes);
        parse(bytes)
    })
}

/// What a PEM file holds. What is wrong with it is reported where it is named, and never shows what it holds.
pub(crate) fn read_pem<T>(
    reader: &Reader<'_>,
    key: &str,
    file: &At<ResolvedPath>,
    parse: impl FnOnce(&[u8]) -> Result<T, MaterialError>,
) -> Option<T> {
    let to_read = FileToRead {
        path: &file.value.path,
        short_name: &file.value.written,
        named_at: Some(file.span),
        limit: MAX_KEY_SET,
        defines_names: false,
    };
    let bytes = read_material(reader, to_read)?;
    parse(&bytes)
        .map_err(|error| {
            let message = format!("`{key}`: `{}` cannot be used: {error}", file.value.written);
            let help = "name a PEM file (RFC 7468)";
            reader.report(Diagnostic::error(codes::BAD_VALUE, file.span, message).with_help(help));
        })
        .ok()
}
