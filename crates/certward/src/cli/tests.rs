use clap::{CommandFactory, error::ErrorKind};

use super::*;
use crate::command_line;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    command_line::parse(line.split(' ').map(Into::into))
}

#[test]
fn clap_finds_nothing_wrong_with_the_definition() {
    Cli::command().debug_assert();
}

#[test]
fn the_outside_interface_is_understood() {
    for line in [
        "certward serve",
        "certward serve --config /etc/certward.toml",
        "certward init",
        "certward init --config f --json",
        "certward init --json --new-admin-key",
        "certward backup f",
        "certward backup f --config c --json",
        "certward restore f",
        "certward restore f --config c --master-key k --json",
        "certward migrate-store",
        "certward migrate-store --config f --to postgres://h/d --json",
        "certward migrate-store --to-file f",
        "certward doctor",
        "certward doctor --config c --deployment d --json",
        "certward healthcheck --config c",
        "certward check cert.pem key.pem",
        "certward check cert.pem key.pem --client-ca ca.pem --host a.example --host *.b.example --json",
        "certward project add lab",
        "certward project add lab --name Laboratory --json",
        "certward project set lab --name Laboratory --description D",
        "certward project set lab --upstream-allow 10.0.0.0/8 --upstream-allow b:1883 --host-suffix lab.example",
        "certward project set lab --no-upstream-allow --no-host-suffixes --json",
        "certward project show lab",
        "certward project list",
        "certward project remove lab",
        "certward deployment add --upstream 127.0.0.1:1883",
        "certward deployment add ge6a1a75 --upstream b:1883 --ws-upstream b:8083 --host a.example --host b.example --name N --project lab",
        "certward deployment set ge6a1a75 --upstream b:1884",
        "certward deployment set ge6a1a75 --no-ws-upstream --no-hosts",
        "certward deployment set ge6a1a75 --connections 1000 --connection-rate 50",
        "certward deployment set ge6a1a75 --record-bytes 512",
        "certward deployment list --json",
        "certward deployment show ge6a1a75",
        "certward deployment remove ge6a1a75",
        "certward tls show ge6a1a75 --url https://c.example/public_api/v1 --api-key k --secret-key s --ca ca.pem",
        "certward tls failures ge6a1a75 --json",
        "certward tls check ge6a1a75 --cert c --key k --client-ca a",
        "certward tls set ge6a1a75 --cert c --key k",
        "certward tls set ge6a1a75 --cert c --key k --client-ca a --wait",
        "certward tls set ge6a1a75 --cert c --key k --one-way --json",
        "certward tls versions ge6a1a75 --json",
        "certward tls diff ge6a1a75 4 6 --json",
        "certward tls rollback ge6a1a75",
        "certward tls rollback ge6a1a75 --to 4 --wait --yes --json",
        "certward tls erase-version ge6a1a75 4 -y",
        "certward tls delete ge6a1a75 --wait",
        "certward trust show ge6a1a75 --json",
        "certward trust add ge6a1a75 --client-ca a --wait",
        "certward trust add ge6a1a75 --client-ca a --ca api-ca.pem --force --json",
        "certward trust remove ge6a1a75 1f97 --force --wait",
        "certward trust stragglers ge6a1a75 1f97",
        "certward trust stragglers ge6a1a75 1f97 --csv",
        "certward key create --name ci --scope tls --scope tls:read --project lab --json",
        "certward key create --name ci",
        "certward key create --name ci --expires 90d",
        "certward key create --name ci --expires 2027-01-31",
        "certward key create --name ci --expires 2027-01-31T00:00:00Z",
        "certward key list",
        "certward key revoke abc",
        "certward devices ge6a1a75",
        "certward devices ge6a1a75 --csv",
        "certward devices ge6a1a75 --json --url u",
        "certward devices -- summary",
        "certward devices summary ge6a1a75",
        "certward devices summary ge6a1a75 --days 30 --json",
        "certward devices forget ge6a1a75 d --json",
        "certward sessions ge6a1a75",
        "certward sessions ge6a1a75 --device d --limit 1000 --json",
        "certward sessions ge6a1a75 --address 2001:db8::1",
        "certward sessions close ge6a1a75 --device d",
        "certward sessions close ge6a1a75 --address 192.0.2.7 --yes --json",
        "certward openapi",
        "certward status",
        "certward status --json",
        "certward expiring",
        "certward expiring --within 12h --json",
        "certward alert channel list",
        "certward alert channel add --webhook https://h.example/x --secret-file f --name N --project lab",
        "certward alert channel add --webhook-file f --json",
        "certward alert channel add --mail smtp.example:25 --from a@b.c --to d@e.f g@h.i --security plain",
        "certward alert channel add --mail h --from a@b.c --to d@e.f --to g@h.i --username u --password-file f",
        "certward alert channel remove c1",
        "certward alert test c1 --json",
        "certward alert list --json",
    ] {
        if let Err(error) = parse(line) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn flags_may_stand_before_the_command_and_mean_the_same() {
    for (before, after) in [
        ("certward --json tls show x", "certward tls show x --json"),
        ("certward tls --json show x", "certward tls show x --json"),
        ("certward --json status", "certward status --json"),
        ("certward --json check c k", "certward check c k --json"),
        ("certward --json init", "certward init --json"),
        ("certward --json doctor", "certward doctor --json"),
        ("certward --json devices x", "certward devices x --json"),
        ("certward --json devices summary x", "certward devices summary x --json"),
        (
            "certward --key-file f --json sessions close x --device d",
            "certward sessions close x --device d --json --key-file f",
        ),
        ("certward --json backup f", "certward backup f --json"),
        ("certward --json rekey --status", "certward rekey --status --json"),
        ("certward --json alert channel list", "certward alert channel list --json"),
        ("certward --json audit verify", "certward audit verify --json"),
        ("certward --login prod --json key list", "certward key list --json --login prod"),
        ("certward --key-file f --ca c nodes", "certward nodes --ca c --key-file f"),
        ("certward --key-file f login", "certward login --key-file f"),
        ("certward --key-file e tls show x --key-file f", "certward tls show x --key-file f"),
    ] {
        let parsed =
            |line: &str| format!("{:?}", parse(line).unwrap_or_else(|error| panic!("{line}: {error}")));
        assert_eq!(parsed(before), parsed(after));
        assert_eq!(parsed(before).contains("json: true"), before.contains("--json"), "{before}");
    }
    let connection = |line: &str| {
        let Command::Nodes(connect) = parse(line).unwrap().command else { panic!("nodes") };
        (connect.api.url, connect.api.api_key, connect.api.secret_key)
    };
    let text = |text: &str| Some(text.to_owned());
    for line in [
        "certward --url u --api-key k --secret-key s nodes",
        "certward nodes --url u --api-key k --secret-key s",
        "certward --url u --api-key k nodes --secret-key s",
    ] {
        assert_eq!(connection(line), (text("u"), text("k"), text("s")), "{line}");
    }
}

#[test]
fn the_nouns_share_their_verbs() {
    let parsed = |line: &str| format!("{:?}", parse(line).unwrap_or_else(|error| panic!("{line}: {error}")));
    for (aliases, verb, line) in [
        (&["create"][..], "add", "certward project VERB lab"),
        (&["get"], "show", "certward project VERB lab"),
        (&["ls"], "list", "certward project VERB"),
        (&["rm", "delete"], "remove", "certward project VERB lab"),
        (&["create"], "add", "certward deployment VERB d1 --upstream b:1883"),
        (&["get"], "show", "certward deployment VERB d1"),
        (&["ls"], "list", "certward deployment VERB"),
        (&["rm", "delete"], "remove", "certward deployment VERB d1"),
        (&["get"], "show", "certward tls VERB d1"),
        (&["rm", "remove"], "delete", "certward tls VERB d1 --wait"),
        (&["add"], "create", "certward key VERB --name n"),
        (&["ls"], "list", "certward key VERB"),
        (&["rm", "delete", "remove"], "revoke", "certward key VERB k"),
        (&["create"], "add", "certward alert channel VERB --webhook u"),
        (&["ls"], "list", "certward alert channel VERB"),
        (&["rm", "delete"], "remove", "certward alert channel VERB c1"),
        (&["ls"], "list", "certward alert VERB"),
        (&["ls"], "list", "certward audit VERB"),
    ] {
        for alias in aliases {
            assert_eq!(parsed(&line.replace("VERB", alias)), parsed(&line.replace("VERB", verb)));
        }
    }
}

#[test]
fn every_command_has_an_example_that_parses() {
    let mut count = 0;
    for_each_leaf(&Cli::command(), "certward", &mut |path, command| {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples = examples(&help);
        assert!(!examples.is_empty(), "{path} has no example");
        for example in examples {
            count += 1;
            // What is piped to it is another program's.
            let words = words(&example);
            let begin = words.iter().position(|word| word == "certward").unwrap_or_default();
            let line = &words[begin..];
            assert!(line.join(" ").starts_with(path), "{path}: {example}");
            if let Err(error) = command_line::parse(line.iter().map(Into::into)) {
                panic!("{example}: {error}");
            }
        }
    });
    assert!(count > 40, "only {count} examples are found");
}

#[test]
fn the_page_of_the_command_line_has_every_command_and_flag() {
    let page = include_str!("../../../../docs/cli.md");
    for_each_leaf(&Cli::command(), "certward", &mut |path, command| {
        let is_shown = |line: &str| line == path || line.starts_with(&format!("{path} "));
        assert!(page.lines().any(is_shown), "{path} is missing in docs/cli.md");
        for flag in command.get_arguments().filter_map(clap::Arg::get_long) {
            let is_own = !["help", "version"].contains(&flag);
            assert!(
                !is_own || page.contains(&format!("--{flag}")),
                "{path} --{flag} is missing in docs/cli.md"
            );
        }
    });
}

fn for_each_leaf(command: &clap::Command, path: &str, look: &mut impl FnMut(&str, &clap::Command)) {
    if !command.has_subcommands() {
        look(path, command);
    }
    for below in command.get_subcommands() {
        for_each_leaf(below, &format!("{path} {}", below.get_name()), look);
    }
}

/// `Example: …`, or the indented lines after `Examples:`.
fn examples(help: &str) -> Vec<String> {
    let mut lines = help.lines();
    let mut examples = Vec::new();
    while let Some(line) = lines.next() {
        examples.extend(line.strip_prefix("Example: ").map(str::to_owned));
        if line == "Examples:" {
            examples.extend(lines.by_ref().map_while(|line| line.strip_prefix("  ")).map(str::to_owned));
        }
    }
    examples
}

/// As a shell splits them, up to a redirection; `$(…)` is one word.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut depth, mut quoted) = (Vec::new(), String::new(), 0, false);
    for c in line.chars() {
        match c {
            '"' | '\'' => quoted = !quoted,
            '>' if depth == 0 && !quoted => break,
            ' ' if depth == 0 && !quoted => {
                words.extend(Some(std::mem::take(&mut word)).filter(|it| !it.is_empty()))
            }
            _ => {
                depth += i32::from(c == '(') - i32::from(c == ')');
                word.push(c);
            }
        }
    }
    words.extend(Some(word).filter(|it| !it.is_empty()));
    words
}

#[test]
fn examples_are_found_and_split_as_a_shell_does() {
    assert_eq!(examples("x\nExample: a b\nExamples:\n  c\n  d\ne"), ["a b", "c", "d"]);
    assert_eq!(words("a b-$(date +%F).db 'c d' > f"), ["a", "b-$(date +%F).db", "c d"]);
}

#[test]
fn what_cannot_be_meant_is_wrong_usage() {
    for (line, kind) in [
        ("certward", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
        ("certward run", ErrorKind::InvalidSubcommand),
        ("certward check cert.pem", ErrorKind::MissingRequiredArgument),
        ("certward migrate-store --to postgres://h/d --to-file f", ErrorKind::ArgumentConflict),
        ("certward deployment add x", ErrorKind::MissingRequiredArgument),
        ("certward deployment set x", ErrorKind::MissingRequiredArgument),
        ("certward deployment set x --host a --no-hosts", ErrorKind::ArgumentConflict),
        ("certward deployment set x --ws-upstream a:1 --no-ws-upstream", ErrorKind::ArgumentConflict),
        ("certward tls set x --cert c", ErrorKind::MissingRequiredArgument),
        ("certward tls set x --cert c --key k --client-ca a --one-way", ErrorKind::ArgumentConflict),
        ("certward key create --name n --scope root", ErrorKind::InvalidValue),
        ("certward key create --name n --expires soon", ErrorKind::ValueValidation),
        ("certward key create --scope tls", ErrorKind::MissingRequiredArgument),
        ("certward expiring --within soon", ErrorKind::ValueValidation),
        ("certward alert channel add", ErrorKind::MissingRequiredArgument),
        ("certward alert channel add --mail h --to d@e.f", ErrorKind::MissingRequiredArgument),
        ("certward alert channel add --mail h --from a@b.c", ErrorKind::MissingRequiredArgument),
        ("certward alert channel add --webhook u --mail h --from a --to b", ErrorKind::ArgumentConflict),
        ("certward alert channel add --webhook u --webhook-file f", ErrorKind::ArgumentConflict),
        ("certward alert channel add --webhook u --to b", ErrorKind::MissingRequiredArgument),
        ("certward alert channel add --mail h --from a --to b --secret-file f", ErrorKind::ArgumentConflict),
        (
            "certward alert channel add --mail h --from a --to b --username u",
            ErrorKind::MissingRequiredArgument,
        ),
        ("certward alert channel add --mail h --from a --to b --security none", ErrorKind::InvalidValue),
        ("certward trust add x", ErrorKind::MissingRequiredArgument),
        ("certward trust remove x", ErrorKind::MissingRequiredArgument),
        ("certward trust stragglers x a --csv --json", ErrorKind::ArgumentConflict),
        ("certward devices", ErrorKind::MissingRequiredArgument),
        ("certward devices x y", ErrorKind::ArgumentConflict),
        ("certward devices x --csv --json", ErrorKind::ArgumentConflict),
        ("certward devices forget x", ErrorKind::MissingRequiredArgument),
        ("certward devices summary x --days 31", ErrorKind::ValueValidation),
        ("certward sessions x --device d --address 192.0.2.7", ErrorKind::ArgumentConflict),
        ("certward sessions x --address localhost", ErrorKind::ValueValidation),
        ("certward sessions close x", ErrorKind::MissingRequiredArgument),
        ("certward sessions close x --device d --address 192.0.2.7", ErrorKind::ArgumentConflict),
        ("certward serve --json", ErrorKind::UnknownArgument),
        ("certward --json serve", ErrorKind::UnknownArgument),
        ("certward --url u serve", ErrorKind::UnknownArgument),
        ("certward --key-file f backup f", ErrorKind::UnknownArgument),
        ("certward --login l login", ErrorKind::UnknownArgument),
        ("certward logout --json", ErrorKind::UnknownArgument),
        ("certward --json", ErrorKind::MissingSubcommand),
        ("certward key list --login ../x", ErrorKind::ValueValidation),
    ] {
        let error = parse(line).err().unwrap_or_else(|| panic!("{line} was understood"));
        assert_eq!(error.kind(), kind, "{line}");
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn a_secret_is_in_no_debug_output() {
    let cli =
        parse("certward tls show x --api-key k --secret-key hunter2 --url http://u:hunter2@h/").unwrap();
    assert!(!format!("{cli:?}").contains("hunter2"));
    let cli = parse("certward alert channel add --webhook https://h.example/hunter2").unwrap();
    assert!(!format!("{cli:?}").contains("hunter2"));
}
