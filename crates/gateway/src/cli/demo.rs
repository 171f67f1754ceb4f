//! `demo`: the gateway at work, with nothing else installed.

use crate::cli::args::{DemoArgs, Global};
use crate::exit::Exit;

pub(crate) fn run(_global: &Global, _args: &DemoArgs) -> Exit {
    Exit::Internal
}
