//! What the gateway answers with, alike on the command line and over its API: the forms for machines, the words for people, and
//! the facts that a question supposes. It knows neither who asks nor how; `cli` and `control`, which do, stand above it.

pub(crate) mod difference;
pub(crate) mod explanation;
pub(crate) mod feed;
pub(crate) mod listing;
pub(crate) mod reason_pages;
pub(crate) mod related;
pub(crate) mod standing;
pub(crate) mod supposed;
pub(crate) mod table;
pub(crate) mod terminal;
pub(crate) mod verdict;
pub(crate) mod who_can;
