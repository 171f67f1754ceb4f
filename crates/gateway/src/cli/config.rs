//! `config`: what can be written in the configuration, for editors.

use portcullis_config::{SchemaOf, schema};

use crate::cli::args::{ConfigArgs, ConfigCommand, Format, Global, SchemaArgs, SchemaFile};
use crate::cli::output::answer;
use crate::exit::Exit;

pub(crate) fn run(global: &Global, args: &ConfigArgs) -> Exit {
    match &args.command {
        ConfigCommand::Schema(args) => print_schema(global, args),
    }
}

fn print_schema(global: &Global, args: &SchemaArgs) -> Exit {
    let schema = schema(match args.of {
        SchemaFile::Gateway => SchemaOf::Gateway,
        SchemaFile::Policy => SchemaOf::Policy,
        SchemaFile::Keys => SchemaOf::Keys,
        SchemaFile::Cases => SchemaOf::Cases,
        SchemaFile::Users => SchemaOf::Users,
    });
    match global.output {
        Format::Human | Format::Json => answer(&format!("{schema:#}")),
        Format::Jsonl => answer(&schema.to_string()),
    }
    Exit::Success
}
