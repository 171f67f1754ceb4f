//! `demo`: the gateway at work, with nothing else installed.

use crate::cli::args::{DemoArgs, Global};
use crate::cli::output::remark;
use crate::demo::perform;
use crate::exit::Exit;

pub(crate) fn run(global: &Global, args: &DemoArgs) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            remark(&format!("error: no runtime: {error}"));
            return Exit::Internal;
        }
    };
    runtime.block_on(perform(global, args.once)).unwrap_or_else(|error| {
        remark(&format!("error: {}", error.describe()));
        error.exit()
    })
}
