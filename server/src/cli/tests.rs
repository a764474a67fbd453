use clap::CommandFactory;

use super::*;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_has_help_with_an_example() {
    fn walk(command: &clap::Command, path: &str) {
        let subcommands: Vec<_> = command.get_subcommands().filter(|sub| sub.get_name() != "help").collect();
        assert!(command.get_about().is_some(), "{path} has no description");
        if subcommands.is_empty() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Examples:\n"), "{path} has no examples");
        }
        for subcommand in subcommands {
            walk(subcommand, &format!("{path} {}", subcommand.get_name()));
        }
    }
    walk(&Cli::command(), "chappe");
}

#[test]
fn the_commands_of_the_contract_are_understood() {
    for line in [
        "serve",
        "serve --config f --data-dir d",
        "testbed --accounts 3 --domain d --data-dir x --config f",
        "account add u@d --password p --tel +1 --tel +2",
        "account list --json",
        "account show u@d",
        "account passwd u@d --password p",
        "account remove u@d",
        "account import f.csv",
        "account export u@d",
        "config check f",
        "config example",
        "status --json",
        "registrations",
        "registrations u@d --json",
        "queue u@d",
        "explain id --json",
        "trace u@d",
        "doctor --json",
        "backup f",
        "restore f",
        "conformance list --json",
        "conformance run --target sip:127.0.0.1:5060;transport=tcp --suite rfc3261 --suite rfc3263 --domain d --user u \
         --password p --msrp 127.0.0.1:2855 --http http://127.0.0.1:8080 --junit f --html f",
    ] {
        let arguments = std::iter::once("chappe").chain(line.split_whitespace());
        if let Err(error) = Cli::try_parse_from(arguments) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    for line in ["", "serv", "account add", "account add u@d --password p --password-file f", "testbed --accounts many"]
    {
        let arguments = std::iter::once("chappe").chain(line.split_whitespace());
        let error = Cli::try_parse_from(arguments).expect_err(line);
        assert_eq!(error.exit_code(), i32::from(USAGE), "{line}");
    }
}

#[test]
fn the_reference_of_commands_is_up_to_date() {
    fn walk(command: &mut clap::Command, path: &str, out: &mut String) {
        let subcommands: Vec<String> =
            command.get_subcommands().map(|sub| sub.get_name().to_owned()).filter(|name| name != "help").collect();
        let help = command.clone().bin_name(path).render_long_help().to_string();
        let help: Vec<_> = help.lines().map(str::trim_end).collect();
        out.push_str(&format!("\n## `{path}`\n\n```text\n{}\n```\n", help.join("\n").trim_end()));
        for name in subcommands {
            let sub = command.find_subcommand_mut(&name).expect("it was listed");
            walk(sub, &format!("{path} {name}"), out);
        }
    }
    let mut page = String::from("# Commands\n\nGenerated from the source by `cargo xtask docs`.\n");
    let mut command = Cli::command().term_width(100);
    command.build();
    walk(&mut command, "chappe", &mut page);
    crate::config::tests::assert_generated("docs/reference/cli.md", &page);
}
