//! Mistakes in the policy file, each with its code and place.

use super::{Folder, GATEWAY, check_policy};

#[test]
fn each_mistake_is_named_where_it_stands() {
    let check = check_policy;
    check("[[network]]\nname = \"a\"\n", ("E0102", 1, 1, "`addresses` is missing in [[network]]"));
    check("[[network]]\nname = \"a\"\naddresses = [\"10.0.0.1/8\"]\n", ("E0105", 3, 14, "write `10.0.0.0/8`"));
    check("[[network]]\nname = \"a\"\naddresses = [10]\n", ("E0104", 3, 14, "found an integer"));
    check("[[network]]\nname = \"a\"\nsource = {}\n", ("E0102", 3, 10, "`url` is missing in `source` of [[network]]"));
    check("[[network]]\nname = \"a\"\nfile = \"none.txt\"\n", ("E0100", 3, 8, "cannot read `none.txt`"));
    check("[[resource]]\nroute = \"biling\"\n", ("E0202", 2, 9, "biling"));
    check("[[resource]]\nroute = \"billing\"\nnetworks = { allow = [\"x\"] }\n", ("E0202", 3, 23, "x"));
    check(
        "[[resource]]\nroute = \"billing\"\nnetworks = { allow = [] }\n",
        ("E0105", 3, 22, "`allow` is empty in `networks` of [[resource]]"),
    );
    check("[[resource]]\nroute = \"billing\"\nnetworks = [\"x\"]\n", ("E0104", 3, 12, "expected a table"));
    check("[[resource]]\nroute = \"billing\"\nsensitivity = \"hihg\"\n", ("E0105", 3, 15, "did you mean \"high\"?"));
    check("[[resource]]\nroute = \"billing\"\nauthentication = false\n", ("E0104", 3, 18, "found a boolean"));
    check(
        "[[role]]\nname = \"r\"\npermissions = [{ action = [\"GET /\"] }]\n",
        ("E0103", 3, 18, "did you mean `actions`?"),
    );
    check("[[role]]\nname = \"r\"\npermissions = [{}]\n", ("E0102", 3, 16, "`actions` is missing"));
    check("[[role]]\nname = \"r\"\npermissions = [{ actions = [\"GET\"] }]\n", ("E0105", 3, 29, "GET"));
    check("[[role]]\nname = \"r\"\ninherits = [\"q\"]\n", ("E0202", 3, 13, "q"));
    check("[[role]]\nname = \"r\"\ninherits = [\"r\"]\n", ("E0301", 3, 13, "r"));
    check("[[group]]\nname = \"g\"\nmembers = [\"alice\"]\n", ("E0105", 3, 12, "not a principal"));
    let grant = "[[assignment]]\nname = \"a\"\nrole = \"r\"\nprincipals = [\"user:a\"]\nscope = \"billing\"\n";
    let role = "[[role]]\nname = \"r\"\npermissions = [{ actions = [\"GET /\"] }]\n";
    let with = |line: &str| format!("{role}{grant}{line}\n");
    check(&with("expires = 2026-01-01T00:00:00"), ("E0105", 9, 11, "add the offset"));
    check(&with("expires = 2026-01-01"), ("E0105", 9, 11, "add the offset"));
    check(&with("expires = \"soon\""), ("E0105", 9, 11, "is no moment"));
    check(&with("expires = 5"), ("E0104", 9, 11, "expected a moment"));
    check(&with("mode = \"shadw\""), ("E0105", 9, 8, "did you mean \"shadow\"?"));
    let broken = |lines: &str| format!("{role}[break_glass]\nroles = [\"r\"]\nscope = \"*\"\n{lines}\n");
    check(&broken("max = \"5h\""), ("E0105", 7, 7, "must be from 1m to 4h"));
    check(&broken("signers = [\"Ana\"]"), ("E0105", 7, 12, "`Ana` is no approver"));
    check(&broken("role = \"r\""), ("E0103", 7, 1, "did you mean `roles`"));
    check("[break_glass]\nroles = [\"q\"]\nscope = \"*\"\n", ("E0202", 2, 10, "there is no role `q`"));
    check("[break_glass]\nroles = []\nscope = \"*\"\n", ("E0105", 2, 9, "name the roles"));
    check(
        &format!("{role}[break_glass]\nroles = [\"r\"]\nscope = [\"nowhere\"]\n"),
        ("E0202", 6, 10, "there is no route `nowhere`"),
    );
    check("[break_glass]\nscope = \"*\"\n", ("E0102", 1, 1, "`roles` is missing"));
    check(&with("activation = {}"), ("E0102", 9, 14, "`max` is missing"));
    check(&with("activation = { max = \"0s\" }"), ("E0105", 9, 22, "from 1s to 365d"));
    check(
        &with("activation = { max = \"4h\", justification = \"maybe\" }"),
        ("E0105", 9, 44, "\"required\" or \"optional\""),
    );
    check(&with("activation = { max = \"4h\", approvals = 17 }"), ("E0105", 9, 40, "0 to 16"));
    check(&with("activation = { max = \"4h\", ticket = true }"), ("E0104", 9, 37, "expected"));
    check(&with("activation = { max = \"4h\", approval = 1 }"), ("E0103", 9, 28, "did you mean `approvals`"));
    check(&with("activation = { max = \"4h\", self = \"yes\" }"), ("E0104", 9, 35, "`true` or `false`"));
    check(&with("activation = { max = \"4h\" }"), ("W0102", 9, 14, "without a store nobody can"));
    check(&with("when = { hours = \"Mon-Fri 08:00-18:00 Berlin\" }"), ("E0105", 9, 18, "not a time zone"));
    check(&with("when = { countries = [\"Germany\"] }"), ("E0105", 9, 23, "two letters of ISO 3166-1"));
    check(&with("when = { countries = [\"DE\"] }"), ("W0303", 9, 22, "never holds"));
    check(&with("when = { networks = [] }"), ("E0105", 9, 21, "`networks` is empty"));
    check(
        &with("when = { networks = [\"offce\"] }\n[[network]]\nname = \"office\"\naddresses = []"),
        ("E0202", 9, 22, "office"),
    );
    check(&with("when = { device = \"managed\" }"), ("E0105", 9, 19, "expected \"compliant\""));
    check(&with("when = { assurance = \"otp\" }"), ("E0105", 9, 22, "expected \"mfa\""));
    check(&with("when = { max_age = 900 }"), ("E0104", 9, 20, "write the unit"));
    check(&with("when = { max_age = \"0s\" }"), ("E0105", 9, 20, "from 1s to 365d"));
    check(&with("when = { max_risk = \"tiny\" }"), ("E0105", 9, 21, "\"low\", \"medium\" or \"high\""));
    check(&with("when = { network = [\"a\"] }"), ("E0103", 9, 10, "did you mean `networks`?"));
    check(
        "[[assignment]]\nname = \"a\"\nrole = \"r\"\nprincipals = [\"user:a\"]\n",
        ("E0102", 1, 1, "`scope` is missing"),
    );
    let deny = "[[deny]]\nname = \"d\"\nprincipals = [\"anyone\"]\nactions = [\"GET /**\"]\nscope = \"*\"\n";
    check(&format!("{deny}when = {{ assurance = \"mfa\" }}\n"), ("E0103", 6, 10, "condition of an assignment"));
    check(&format!("{deny}when = {{ max_age = \"1h\" }}\n"), ("E0103", 6, 10, "condition of an assignment"));
    check(&format!("{deny}when = {{ countries = \"KP\" }}\n"), ("W0303", 6, 22, "gets 503"));
    check(
        "[[deny]]\nname = \"d\"\nactions = [\"GET /**\"]\nscope = \"*\"\n",
        ("E0102", 1, 1, "`principals` is missing"),
    );
    check("[risk]\nstep_up_budget = 1\n", ("E0104", 2, 18, "write the sign"));
    check("[risk]\nstep_up_budget = \"0.001%\"\n", ("E0105", 2, 18, "from 0.01% to 50%"));
    check("[risk]\nstep_up_budget = \"51%\"\n", ("E0105", 2, 18, "from 0.01% to 50%"));
    let posture = |lines: &str| format!("[risk]\nmode = \"monitor\"\n[risk.posture]\n{lines}\n");
    check(&posture("max_age = \"1h\""), ("E0102", 3, 1, "`from` is missing"));
    check(&posture("from = \"device\""), ("E0105", 4, 8, "\"proxy\" or \"agent\""));
    check(&posture("from = \"agent\""), ("E0102", 3, 1, "`keys` is missing"));
    check(&posture("from = \"proxy\"\nkeys = \"a.json\""), ("E0203", 5, 8, "which is not signed"));
    check(&posture("from = \"proxy\""), ("E0203", 4, 8, "no proxy is trusted"));
    check(&posture("from = \"agent\"\nkeys = \"none.json\""), ("E0100", 5, 8, "cannot read `none.json`"));
    check(&posture("from = \"agent\"\nkeys = \"policy.toml\""), ("E0105", 5, 8, "the key set is"));
    check("[risk]\ncalibration = \"weekly\"\n", ("E0105", 2, 15, "\"daily\" or \"by_hand\""));
    check("[risk]\ncalibration = \"sha256:00\"\n", ("E0105", 2, 15, "\"sha256:\" and the 64 digits"));
    let named = format!("[risk]\ncalibration = \"sha256:{}\"\n", "0".repeat(64));
    check(&named, ("E0203", 2, 15, "no budget that it is for"));
    check("[risk]\nthresholds.high = { step_up = 3.0, deny = 1.0 }\n", ("E0203", 2, 43, "below `step_up`"));
    check("[risk]\nthresholds.hihg = {}\n", ("E0103", 2, 12, "did you mean `high`?"));
    check("[risk]\nthresholds.high = { step_up = nan }\n", ("E0105", 2, 31, "expected a number"));
    check("[risk]\nsignals.geo = {}\n", ("E0103", 2, 9, "`travel`, `user_agent`"));
    check("[risk]\nreputation = [{ network = \"tor\" }]\n", ("E0202", 2, 27, "there is no network `tor`"));
    check("[risk]\nreputation = [{ nats = 2.0 }]\n", ("E0102", 2, 15, "`network` is missing"));
    let tor = "[risk]\nreputation = [{ network = \"tor\", nats = 4.1 }]\n[[network]]\nname = \"tor\"\naddresses = [\"192.0.2.1\"]\n";
    check(tor, ("E0105", 2, 41, "from 0 to 4"));
    check("[risk]\nservices = \"challenge\"\n", ("E0105", 2, 12, "\"allow\" or \"deny\""));
    check("[risk]\nsignals.device = { cap = [1, 0] }\n", ("E0105", 2, 26, "the least and the most"));
    check("[risk]\ncorporate_egress = [\"vpn\"]\n", ("E0202", 2, 21, "there is no network `vpn`"));
    check("[step_up]\nmax_age = 12\n", ("E0104", 2, 11, "write the unit"));
    check("[step_up]\nmfa = {}\n", ("E0102", 2, 7, "`amr` is missing"));
    check("[ban]\nnever = [\"office\"]\n", ("E0202", 2, 10, "there is no network `office`"));
    check("[ban]\nfirst = \"2d\"\n", ("E0203", 1, 1, "`longest` is shorter than `first`"));
    check("[ban]\nprobing = { ratio = 25 }\n", ("E0104", 2, 21, "write the sign: `\"25%\"`"));
    check("[ban]\nprobing = { ratio = \"125%\" }\n", ("E0105", 2, 21, "from \"0%\" to \"100%\""));
    check("[ban]\nflood = { requests = 9 }\n", ("E0105", 2, 22, "from 10 to"));
    check("[ban]\nflood = { window = 10 }\n", ("E0104", 2, 20, ""));
    check("[ban]\nblast_radius = { share = 10 }\n", ("E0104", 2, 26, "write the sign"));
    check("[ban]\nblast_radius = { ban = 10 }\n", ("E0103", 2, 18, "did you mean `bans`?"));
    check("[ban]\nfactor = 0\n", ("E0105", 2, 10, "from 1 to 100"));
    check("[ban]\nspraying = { window = \"10 m\" }\n", ("E0105", 2, 23, "expected a duration"));
    check("[bans]\n", ("E0103", 1, 2, "did you mean `ban`?"));
}

#[test]
fn a_name_of_another_file_is_not_unknown_when_that_file_cannot_be_read() {
    let folder = Folder::new();
    folder.write("policy.toml", "version = 1\ninclude = [\"networks.toml\"]\n[ban]\nnever = [\"office\"]\n");
    folder.write("networks.toml", "[[network]\nname = \"office\"\n");
    let codes: Vec<&str> = folder.problems().iter().map(|(code, _, _)| *code).collect();
    assert_eq!(codes, ["E0101"]);
}

#[test]
fn a_posture_is_bounded_and_its_header_named() {
    let folder = Folder::new();
    let trusted = "[client_address]\ntrusted_proxies = [\"127.0.0.1\"]\n";
    folder.write("portcullis.toml", format!("{GATEWAY}{trusted}"));
    let check = |line: &str, (column, expected): (u32, &str)| {
        folder.write("policy.toml", format!("version = 1\n[risk.posture]\nfrom = \"proxy\"\n{line}\n"));
        folder.check(line, &[("E0105", &format!("policy.toml:4:{column}"), expected)]);
    };
    check("max_age = \"0s\"", (11, "from 1s to 30d"));
    check("max_age = \"31d\"", (11, "from 1s to 30d"));
    check("header = \"a b\"", (10, "the name of a header"));
}
