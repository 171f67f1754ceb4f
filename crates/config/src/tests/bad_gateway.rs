//! Mistakes in the gateway file, each with its code and place.

use super::{Folder, GATEWAY, check_gateway};

#[test]
fn each_mistake_is_named_where_it_stands() {
    let check = check_gateway;
    check("colour = 1\n", ("E0103", 1, 1, "unknown key `colour` in [[route]] | known keys: "));
    check("host = [\"a\"]\n", ("E0103", 1, 1, "did you mean `hosts`?"));
    check("hosts = []\n", ("E0105", 1, 9, "`hosts` is empty in [[route]] | leave it out for any host"));
    check("hosts = [\"a b\"]\n", ("E0105", 1, 10, "not a host"));
    check("paths = [\"api\"]\n", ("E0105", 1, 10, "api"));
    check("paths = 5\n", ("E0104", 1, 9, "`paths`: expected"));
    check("forward_credentials = \"true\"\n", ("E0104", 1, 23, "write it without quotes"));
    check("disclose = \"calller\"\n", ("E0105", 1, 12, "did you mean \"caller\"?"));
    check("strip_prefix = \"/api\"\n", ("E0105", 1, 16, "the route's path `/**` does not begin with `/api`"));
    check("paths = [\"/api\", \"/b/**\"]\nstrip_prefix = \"/api\"\n", ("E0105", 2, 16, "`/b/**` does not begin with"));
    check("strip_prefix = \"/api/\"\n", ("E0105", 1, 16, "ends in a slash | write it as `/api`"));
    check("add_prefix = \"v1\"\n", ("E0105", 1, 14, "`v1` is no path"));
    check("add_prefix = \"/a/../b\"\n", ("E0105", 1, 14, "a dot segment"));
    check(
        "rewrite = \"/v2/{id}\"\n",
        ("E0105", 1, 11, "name the segment in `paths`, as in `paths = [\"/api/{id}/**\"]`"),
    );
    check("paths = \"/x/{id}\"\nrewrite = \"/v2/**\"\n", ("E0105", 2, 11, "end the route's paths in `/**`"));
    // It would be taken for `hosts`, and then the route would be one for any host.
    check("host = \"a\"\n", ("E0103", 1, 1, "did you mean `hosts`?"));
    check("rewrite = \"/v2?x\"\n", ("E0105", 1, 11, "makes no canonical path"));
    check("rewrite = \"/v2/**\"\nadd_prefix = \"/x\"\n", ("E0203", 2, 14, "`rewrite` says the whole path"));
    check("upstream_host = \"a b\"\n", ("E0105", 1, 17, "`a b` is no host"));
    check("upstream_host = \"user@a\"\n", ("E0105", 1, 17, "is no host"));
    check("request_headers = 1\n", ("E0104", 1, 19, "expected a table"));
    check("request_headers = { set = { \"a b\" = \"c\" } }\n", ("E0105", 1, 29, "`a b` is no name of a header"));
    check("request_headers = { set = { a = 1 } }\n", ("E0104", 1, 33, "expected a string, found an integer"));
    check("request_headers = { set = { a = \"b\\nc: d\" } }\n", ("E0105", 1, 33, "is no value of a header field"));
    check("request_headers = { set = { a = \" b\" } }\n", ("E0105", 1, 33, "is no value of a header field"));
    check(
        "request_headers = { set = { host = \"b\" } }\n",
        ("E0203", 1, 29, "the route's `upstream_host` is for that"),
    );
    check("request_headers = { add = { X_Auth_User = \"b\" } }\n", ("E0203", 1, 29, "`x_auth_user`: only the gateway"));
    check("request_headers = { remove = [\"x-forwarded-for\"] }\n", ("E0203", 1, 31, "only the gateway tells that"));
    check("request_headers = { set = { content-length = \"0\" } }\n", ("E0203", 1, 29, "how long the body is"));
    check("response_headers = { set = { transfer-encoding = \"x\" } }\n", ("E0203", 1, 30, "one connection only"));
    check("response_headers = { remove = [\"x-request-id\"] }\n", ("E0203", 1, 32, "it is the gateway's"));
    check("response_headers = { sett = {} }\n", ("E0103", 1, 22, "did you mean `set`?"));
    check("cors = {}\n", ("E0102", 1, 8, "`origins` is missing in `cors` of [[route]]"));
    check("cors = { origins = [] }\n", ("E0105", 1, 20, "`origins` is empty"));
    let origin = |text: &str, fragment: &str| {
        check(&format!("cors = {{ origins = [\"{text}\"] }}\n"), ("E0105", 1, 21, fragment));
    };
    origin("null", "no origin that can be trusted");
    origin("app.example", "is no origin | write it as");
    origin("https://app.example/", "ends after the host and port");
    origin("HTTPS://app.example", "has no scheme in lower case");
    origin("https://App.example", "write the host as `app.example`");
    origin("https://app.example.", "write the host as `app.example`");
    origin("https://app.example:443", "write `https://app.example`");
    origin("http://app.example:80", "write `http://app.example`");
    origin("https://app.example:0443", "is not as browsers write it");
    origin("https://*.example", "list each of them");
    origin("https://a b", "names no host");
    check(
        "cors = { origins = [\"*\"], credentials = true }\n",
        ("E0203", 1, 21, "every site read what the caller may"),
    );
    check("cors = { origins = [\"*\", \"https://a.test\"] }\n", ("E0203", 1, 21, "others beside it mean nothing"));
    check(
        "cors = { origins = [\"https://a.test\"], credentials = true, headers = [\"*\"] }\n",
        ("E0203", 1, 71, "take `*` for a name"),
    );
    check("cors = { origins = [\"*\"], methods = [\"GET PUT\"] }\n", ("E0105", 1, 38, "`GET PUT` is not a method"));
    check("cors = { origins = [\"*\"], expose = [\"a b\"] }\n", ("E0105", 1, 37, "is not the name of a header"));
    for rules in ["add = { access-control-allow-origin = \"*\" }", "remove = [\"vary\"]"] {
        let text = format!("cors = {{ origins = [\"*\"] }}\nresponse_headers = {{ {rules} }}\n");
        let column = if rules.starts_with("add") { 30 } else { 32 };
        check(&text, ("E0203", 2, column, "is written by the route's `cors`"));
    }
    check("timeouts = { keep_alive = \"1s\" }\n", ("E0103", 1, 14, "known keys"));
    check("timeouts = { total = \"8d\" }\n", ("E0105", 1, 22, "must be from 0s to 7d"));
    check("timeouts = { connect = 2 }\n", ("E0104", 1, 24, "write the unit"));
    check("rewrite_location = 1\n", ("E0104", 1, 20, "expected `true` or `false`"));
    check("maintenance = \"yes\"\n", ("E0104", 1, 15, "expected `true`, `false` or a table, found a string"));
    check("maintenance = { retry_after = 5 }\n", ("E0104", 1, 31, "write the unit"));
    check("maintenance = { except = [\"10.0.0.1/8\"] }\n", ("E0105", 1, 27, "write `10.0.0.0/8`"));
    check("maintenance = { except = [\"10.0.0\"] }\n", ("E0105", 1, 27, "no address or prefix"));
    check("maintenance = { except = [\"office\"] }\n", ("E0202", 1, 27, "the policy has no network `office`"));
    check("redirect = { to = \"/x\" }\n", ("E0203", 1, 12, "a route has one of `upstream` and `redirect`"));
    check("respond = { status = 200 }\n", ("E0203", 1, 11, "a route has one of `upstream` and `respond`"));
    let other = |text: &str| format!("[[route]]\nname = \"b\"\npaths = \"/b/{{id}}\"\n{text}\n");
    check(&other("redirect = { to = \"//evil.test\" }"), ("E0105", 4, 19, "another host to every browser"));
    check(&other("redirect = { to = \"evil.test/x\" }"), ("E0105", 4, 19, "neither a path nor a link"));
    check(&other("redirect = { to = \"javascript:x\" }"), ("E0105", 4, 19, "neither a path nor a link"));
    check(&other("redirect = { to = \"https://u@a/x\" }"), ("E0105", 4, 19, "names no host"));
    check(&other("redirect = { to = \"https:///x\" }"), ("E0105", 4, 19, "names no host"));
    check(&other("redirect = { to = \"https://{host}/x\" }"), ("E0105", 4, 19, "list the route's `hosts`"));
    check(&other("redirect = { to = \"https://a/{name}\" }"), ("E0105", 4, 19, "name the segment in `paths`"));
    check(&other("redirect = { to = \"/x#y\" }"), ("E0105", 4, 19, "there is a fragment"));
    check(&other("redirect = { to = \"/x?a b\" }"), ("E0105", 4, 19, "the query is not valid"));
    check(&other("redirect = { to = \"/x\", status = 304 }"), ("E0105", 4, 34, "304 is no status of a redirect"));
    check(&other("redirect = { to = \"/x\", status = 200 }"), ("E0105", 4, 34, "from 301 to 308"));
    check(&other("redirect = { to = \"/x\" }\nupstream_host = \"a\""), ("E0203", 5, 17, "is for an upstream"));
    check(&other("split = []"), ("E0203", 1, 1, "give one of them a `weight`, and no `when`"));
    check(&other("split = [{ upstream = \"biling\" }]"), ("E0202", 4, 23, "did you mean `billing`?"));
    check(&other("split = [{ weight = 1 }]"), ("E0102", 4, 10, "`upstream` is missing in `split` of [[route]]"));
    check(&other("split = [{ upstream = \"billing\", weight = 0 }]"), ("E0203", 4, 10, "that meet no condition"));
    check(
        &other("split = [{ upstream = \"billing\", when = { headers = { a = \"b\" } } }]"),
        ("E0203", 4, 10, "that meet no condition"),
    );
    check(&other("split = [{ upstream = \"billing\", weight = -1 }]"), ("E0105", 4, 43, "from 0 to 10000"));
    check(
        &other("split = [{ upstream = \"billing\", when = {} }]"),
        ("E0102", 4, 41, "`headers` is missing in `when`"),
    );
    check(&other("split = [{ upstream = \"billing\" }]\nsticky = \"user\""), ("E0105", 5, 10, "\"principal\""));
    check(
        &other("upstream = \"billing\"\nsplit = [{ upstream = \"billing\" }]"),
        ("E0203", 5, 10, "one of `upstream` and `split`"),
    );
    check(&other("respond = {}"), ("E0102", 4, 11, "`status` is missing in `respond` of [[route]]"));
    check(&other("respond = { status = 101 }"), ("E0105", 4, 22, "from 200 to 599"));
    check(&other("respond = { status = 204, body = \"x\" }"), ("E0203", 4, 22, "has no body"));
    check(&other("respond = { status = 200, file = \"nowhere.html\" }"), ("E0100", 4, 34, "nowhere.html"));
    check(&other("respond = { status = 200, body = \"a\", file = \"policy.toml\" }"), ("E0203", 4, 46, "two bodies"));
    check(&other("respond = { status = 200, content_type = \"html\" }"), ("E0105", 4, 42, "expected a media type"));
    check(
        &other("respond = { status = 200, headers = { content-type = \"a/b\" } }"),
        ("E0203", 4, 39, "write it beside `body`"),
    );
    check("rate_limit = 5\n", ("E0104", 1, 14, "`rate_limit`: expected a table, or a list of tables"));
    check("rate_limit = [5]\n", ("E0104", 1, 15, "`rate_limit`: expected a table"));
    check("rate_limit = { per = \"route\", requests = 1 }\n", ("E0102", 1, 14, "`window` is missing"));
    check(
        "rate_limit = { per = \"user\", requests = 1, window = \"1s\" }\n",
        ("E0105", 1, 22, "expected \"principal\", \"address\" or \"route\""),
    );
    check(
        "rate_limit = { per = \"route\", requests = 0, window = \"1s\" }\n",
        ("E0105", 1, 42, "from 1 to 1000000000"),
    );
    check("rate_limit = { per = \"route\", requests = 1, window = \"2d\" }\n", ("E0105", 1, 54, "from 1s to 1d"));
    check(
        "rate_limit = { per = \"route\", requests = 1, window = \"1d\", burst = 31 }\n",
        ("E0105", 1, 68, "more than 30 days to come back | at most 30"),
    );
    check(
        "rate_limit = { per = \"route\", requests = 1, window = \"1s\", brst = 2 }\n",
        ("E0103", 1, 60, "did you mean `burst`?"),
    );
    let one = "{ per = \"route\", requests = 1, window = \"1s\" }";
    check(&format!("rate_limit = [{}]\n", [one; 9].join(", ")), ("E0105", 1, 399, "more than 8 limits"));
    check("[limits]\nmax_connections_per_client = 0\n", ("E0105", 2, 30, "from 1 to 1000000, found 0"));
    check("[limits]\nmax_connections_per_client = \"9\"\n", ("E0104", 2, 30, "write it without quotes"));
    check("[limits]\nshed_after = 30\n", ("E0104", 2, 14, "write the unit: `\"30s\"`"));
    check("[limits]\nshed_after = \"2m\"\n", ("E0105", 2, 14, "must be from 0s to 1m"));
    check("max_request_body = 5\n", ("E0104", 1, 20, "write the unit: `\"5B\"`"));
    check("max_request_body = \"0B\"\n", ("E0105", 1, 20, "must be from 1 to"));
    check("max_response_body = \"1TB\"\n", ("E0105", 1, 21, "expected a size such as"));
    check("[limits]\nmax_request_body = \"none\"\n", ("E0105", 2, 20, "expected a size such as"));
    check("max_concurrent = 5\n", ("E0104", 1, 18, "`max_concurrent`: expected a table"));
    check("max_concurrent = { route = 0 }\n", ("E0105", 1, 28, "from 1 to 1000000"));
    check("max_concurrent = { address = 5 }\n", ("E0103", 1, 20, "unknown key `address`"));
    check(
        "[limits]\nrate_limit = { per = \"route\", window = \"1s\" }\n",
        ("E0102", 2, 14, "`requests` is missing in [limits.rate_limit]"),
    );
    check("trailers = \"yes\"\n", ("E0104", 1, 12, "write it without quotes"));
    check("upgrades = [\"web socket\"]\n", ("E0105", 1, 13, "expected an upgrade token"));
    check("upgrades = [\"a/b/c\"]\n", ("E0105", 1, 13, "expected an upgrade token"));
    check("upgrades = [\"websocket\", \"H2C\"]\n", ("E0105", 1, 26, "would carry requests past the gateway"));
    check("upgrades = [\"TLS/1.0\"]\n", ("E0105", 1, 13, "would carry requests past the gateway"));
    check("upgrades = \"websocket\"\n", ("E0104", 1, 12, "write it in brackets"));
    check(&other("redirect = { to = \"/x\" }\nupgrades = [\"websocket\"]"), ("E0203", 5, 12, "is for an upstream"));
    check("[limits]\nupgrade_idle_timeout = \"0s\"\n", ("E0105", 2, 24, "must be from 1s to 7d"));
    check("[limits]\nrecheck = \"31s\"\n", ("E0105", 2, 11, "must be from 1s to 30s"));
    check("[[route]]\nname = \"b\"\npaths = [\"/b\"]\n", ("E0102", 1, 1, "`upstream` is missing in [[route]]"));
    check(
        "[[route]]\nname = \"b\"\nupstream = \"biling\"\npaths = \"/b\"",
        ("E0202", 3, 12, "did you mean `billing`?"),
    );
    check("[[route]]\nname = \"b\"\nupstream = \"billing\"\n", ("E0203", 2, 8, "billing"));
    check("[[route]]\nname = \"billing\"\nupstream = \"billing\"\npaths = [\"/b\"]", ("E0201", 2, 8, "billing"));
    check("[[listener]]\nname = \"b\"\naddress = \"localhost:1\"\n", ("E0105", 3, 11, "write \"127.0.0.1:1\""));
    check("[[listener]]\nname = \"b\"\naddress = \":80\"\n", ("E0105", 3, 11, "0.0.0.0:80"));
    check("[[listener]]\nname = \"b\"\naddress = \"127.0.0.1\"\n", ("E0105", 3, 11, "add the port"));
    check("[[listener]]\nname = \"b\"\naddress = 8080\n", ("E0104", 3, 11, "found an integer"));
    check("[[listener]]\nname = \"b\"\naddress = \"0.0.0.0:8080\"\n", ("E0203", 3, 11, "bind one address"));
    check("[[listener]]\nname = \"internal\"\naddress = \"127.0.0.1:1\"\n", ("E0201", 2, 8, "two listeners are named"));
    check("[[listener]]\nname = \"b\"\naddress = \"[::1]:1\"\ntls = true\n", ("E0104", 4, 7, "expected a table"));
    check("[[listener]]\nname = \"a,b\"\naddress = \"[::1]:1\"\n", ("E0105", 2, 8, "holds a comma"));
    check("[[listener]]\nname = \"\"\naddress = \"[::1]:1\"\n", ("E0105", 2, 8, "must not be empty"));
    let long = "x".repeat(120);
    check(
        &format!("[control]\nsocket = \"/{long}\"\n"),
        ("E0105", 2, 10, "a unix socket at most 107 | choose a shorter one"),
    );
    check("[control]\nsocket = \"\"\n", ("E0105", 2, 10, "is not a path"));
    check("[control]\nsocket = 1\n", ("E0104", 2, 10, "expected a path"));
    check("[control]\ngroup = 4711\n", ("E0104", 2, 9, "expected a name"));
    check("[control]\nenabled = \"no\"\n", ("E0104", 2, 11, "write it without quotes"));
    check("[control]\nsockets = \"a\"\n", ("E0103", 2, 1, "did you mean `socket`?"));
    check("[index]\nenabled = true\n", ("E0203", 1, 1, "there is no sink of kind \"file\" | add one"));
    check(
        "[[sink]]\nname = \"s\"\nkind = \"file\"\npath = \"x\"\nformat = \"cef\"\n[index]\nenabled = true\n",
        ("E0203", 6, 1, "of a file of native events"),
    );
    check("[index]\nmax_age = \"1m\"\n", ("E0105", 2, 11, "must be from 1h to"));
    check("[index]\nmax_size = \"1MiB\"\n", ("E0105", 2, 12, ""));
    check("[index]\nmax_sizes = \"1GiB\"\n", ("E0103", 2, 1, "did you mean `max_size`?"));
    check("[ops]\naddress = \"127.0.0.1:8080\"\n", ("E0203", 2, 11, "[ops] and the listener `internal`"));
    check("[[upstream]]\nname = \"b\"\n", ("E0102", 1, 1, "`endpoints` is missing in [[upstream]]"));
    check("[[upstream]]\nname = \"b\"\nendpoints = []\n", ("E0105", 3, 13, "has no endpoint"));
    check("[[upstream]]\nname = \"b\"\nendpoints = \"http://a:1\"\n", ("E0104", 3, 13, "write it in brackets"));
    check(
        "[[upstream]]\nname = \"b\"\nendpoints = [\"http://a:1\", \"a\"]\n",
        ("E0105", 3, 28, "is not of the form http://HOST:PORT"),
    );
    check("[[upstream]]\nname = \"b\"\nendpoints = [\"h2://a:1\"]\n", ("E0105", 3, 14, "write it as `http://"));
    let weighed = |endpoint: &str| format!("[[upstream]]\nname = \"b\"\nendpoints = [{endpoint}]\n");
    check(&weighed("{ weight = 2 }"), ("E0102", 3, 14, "`url` is missing in an endpoint"));
    check(&weighed("{ url = \"http://a:1\", weight = 0 }"), ("E0105", 3, 45, "from 1 to 100"));
    check(&weighed("{ url = \"http://a:1\", wait = 1 }"), ("E0103", 3, 36, "unknown key `wait` in an endpoint"));
    check(&weighed("{ url = \"http://a\" }"), ("E0105", 3, 14, "has no port"));
    check(&weighed("{ url = 1 }"), ("E0104", 3, 22, "expected a string"));
    check("[[upstream]]\nname = \"b\"\nendpoints = [\"unix:\"]\n", ("E0105", 3, 14, "`unix:/run/app.sock`"));
    check(
        &format!("[[upstream]]\nname = \"b\"\nendpoints = [\"unix:/{}\"]\n", "a".repeat(107)),
        ("E0105", 3, 14, "longer than the 107 bytes"),
    );
    check("[upstream]\nname = \"b\"\n", ("E0101", 1, 2, "`upstream` is written twice"));
    check("[limits]\nmax_header_fields = 0\n", ("E0105", 2, 21, "from 1 to 10000, found 0"));
    check("[limits]\nmax_header_fields = -5\n", ("E0105", 2, 21, "found -5"));
    check("[limits]\nmax_header_fields = 99999999999999999999999\n", ("E0105", 2, 21, "expected a whole number"));
    check("[limits]\nmax_header_fields = 1.5\n", ("E0104", 2, 21, "found a float"));
    check("[limits]\nheader_timeout = 10\n", ("E0104", 2, 18, "write the unit: `\"10s\"`"));
    check("[limits]\nheader_timeout = \"10\"\n", ("E0105", 2, 18, "with `ms`, `s`, `m`, `h` or `d`"));
    check("[limits]\nheader_timeout = \"2h\"\n", ("E0105", 2, 18, "must be from 1ms to 1h"));
    check("[limits]\nmax_header_bytes = 65536\n", ("E0104", 2, 20, "write the unit: `\"65536B\"`"));
    check("[limits]\nmax_header_bytes = \"1KiB\"\n", ("E0105", 2, 20, "must be from 8192"));
    check("[limits]\nmax_field_bytes = \"65KiB\"\n", ("E0203", 1, 1, "`max_field_bytes` is larger than"));
    check("[limits]\n\"max_header_bytess\" = \"64KiB\"\n", ("E0103", 2, 1, "did you mean `max_header_bytes`?"));
    check("[refusal]\nhelp = \"help.example\"\n", ("E0105", 2, 8, "expected a link"));
    check("[refusal]\nrealm = \"a\\\"b\"\n", ("E0105", 2, 9, "visible ASCII"));
    check("[refusal]\nhtml = \"nowhere.html\"\n", ("E0100", 2, 8, "nowhere.html"));
    check("[refusal]\nhtml_4xx = 1\n", ("E0104", 2, 12, "expected a path"));
    check("[forwarding]\nvia = \"a b\"\n", ("E0105", 2, 7, "expected a name of letters, digits"));
    check("[forwarding]\nrequest_id = \"keep\"\n", ("E0105", 2, 14, "expected \"own\" or \"trusted\""));
    check("[forwarding]\ntrace = true\n", ("E0104", 2, 9, "expected \"continue\", \"begin\" or \"off\""));
    check("[access_log]\nkind = \"syslog\"\n", ("E0105", 2, 8, "expected \"off\", \"stdout\" or \"file\""));
    check("[access_log]\nkind = \"file\"\n", ("E0102", 1, 1, "`path` is missing in [access_log]"));
    check("[access_log]\npath = \"a.log\"\n", ("E0203", 2, 8, "write `kind = \"file\"`"));
    check("[access_log]\nformat = \"common\"\n", ("E0105", 2, 10, "\"combined\""));
    check("[access_log]\nsample = 10\n", ("E0104", 2, 10, "write the sign: `\"10%\"`"));
    check("[access_log]\nsample = \"101%\"\n", ("E0105", 2, 10, "from \"0%\" to \"100%\""));
    check("[access_log]\nqueue = 0\n", ("E0105", 2, 9, "from 1 to"));
    check(
        "[[sink]]\nname = \"s\"\nkind = \"file\"\npath = \"x\"\n[access_log]\nkind = \"file\"\npath = \"x\"\n",
        ("E0203", 6, 8, "the access log and the sink `s` write to one file"),
    );
    check("[process]\nworkers = 0\n", ("E0105", 2, 11, "from 1 to 1024"));
    check("[shutdown]\ngrace = \"30\"\n", ("E0105", 2, 9, "expected a duration"));
    check("[client_address]\ntrusted_proxies = [\"::/0\"]\n", ("E0204", 2, 20, "trusts everybody"));
    check("[client_address]\ntrusted_proxies = [\"0.0.0.0/0\"]\n", ("E0204", 2, 20, "trusts everybody"));
    check("[client_address]\ntrusted_proxies = [\"10.0.0.1/8\"]\n", ("E0105", 2, 20, "write `10.0.0.0/8`"));
    check("[client_address]\nheader = \"x-real-ip\"\n", ("E0105", 2, 10, "\"x-forwarded-for\" or \"forwarded\""));
    check("[[sink]]\nname = \"s\"\nkind = \"s3\"\nurl = \"x\"\n", ("E0106", 3, 8, "\"s3\" is not available"));
    check("[[sink]]\nname = \"s\"\nkind = \"sdtout\"\n", ("E0105", 3, 8, "did you mean \"stdout\"?"));
    check("[[sink]]\nname = \"s\"\nkind = \"file\"\n", ("E0102", 1, 1, "`path` is missing in [[sink]]"));
    check("[[sink]]\nname = \"s\"\nkind = \"stdout\"\npath = \"x\"\n", ("E0203", 4, 8, "kind \"file\""));
    check(
        "[[sink]]\nname = \"s\"\nkind = \"stdout\"\n[[sink]]\nname = \"t\"\nkind = \"stdout\"\n",
        ("E0203", 6, 8, "one place"),
    );
    check(
        "[[sink]]\nname = \"s\"\nkind = \"stdout\"\n[[sink]]\nname = \"s\"\nkind = \"file\"\npath = \"x\"",
        ("E0201", 5, 8, "two sinks"),
    );
    let stdout = |line: &str| format!("[[sink]]\nname = \"s\"\nkind = \"stdout\"\n{line}\n");
    let file = |line: &str| format!("[[sink]]\nname = \"s\"\nkind = \"file\"\npath = \"x\"\n{line}\n");
    check(&stdout("kinds = \"access.refused\""), ("E0105", 4, 9, "a kind of event such as \"access.denied\""));
    check(&stdout("kinds = \"acces.*\""), ("E0105", 4, 9, "a kind of event"));
    check(&stdout("reasons = [\"rbac.*\", \"rbac.no_grant\"]"), ("E0105", 4, 22, "a reason such as"));
    check(&stdout("reasons = \"*\""), ("E0105", 4, 11, "a reason such as"));
    check(&stdout("severity = \"bad\""), ("E0105", 4, 12, "\"high\" or \"critical\""));
    check(&stdout("routes = \"biling\""), ("E0202", 4, 10, "did you mean `billing`?"));
    check(&stdout("rotate_size = \"1MiB\""), ("E0203", 4, 15, "belongs to a sink of kind \"file\""));
    check(&file("rotate_keep = 3"), ("E0203", 5, 15, "write `rotate_size` or `rotate_every`"));
    check(&file("rotate_size = \"1KiB\""), ("E0105", 5, 15, "must be from 1048576"));
    check(&file("rotate_every = \"1s\""), ("E0105", 5, 16, "must be from 1m"));
    check("[event]\npermits = \"1%\"\n", ("E0104", 2, 11, "expected a table"));
    check("[event]\npermits = { sample = 1 }\n", ("E0104", 2, 22, "write the sign: `\"1%\"`"));
    check("[event]\npermits = { sample = \"101%\" }\n", ("E0105", 2, 22, "from \"0%\" to \"100%\""));
    check("[event]\npermits = { sample = \"1%\", routes = \"ap\" }\n", ("E0202", 2, 37, "there is no route `ap`"));
    check("[event]\nupstream_refusals = \"yes\"\n", ("E0104", 2, 21, ""));
    check("[event]\nintegrity = true\n", ("E0104", 2, 13, "expected \"chain\" or \"off\""));
    check("[spool]\nfsync = \"often\"\n", ("E0105", 2, 9, "\"interval\" or \"never\""));
    check("[spool]\nfsync = \"always\"\n", ("E0203", 2, 9, "neither a spool nor a sink of kind \"file\""));
    check("[spool]\nfsync_interval = \"1ms\"\n", ("E0105", 2, 18, "from 10ms to 10s"));
    check("[spool]\nmax_size = \"1MiB\"\n", ("E0105", 2, 12, "must be from 16777216"));
    check("[spool]\nmax_size = \"16MiB\"\n", ("E0203", 2, 12, "four times `segment_size`"));
    check("[spool]\nsegment_size = \"512MiB\"\n", ("E0203", 2, 16, "four times `segment_size`"));
    check(
        "[[sink]]\nname = \"s\"\nkind = \"stdout\"\non_full = \"wait\"\n",
        ("E0105", 4, 11, "expected \"drop\" or \"block\""),
    );
    check(
        "[[sink]]\nname = \"s\"\nkind = \"file\"\npath = \"x\"\non_full = \"drop\"\n[spool]\nfsync = \"always\"\n",
        ("E0203", 5, 11, "contradicts `fsync = \"always\"`"),
    );
    check("[event]\nnode = \"${NODE}\"\n", ("E0107", 2, 9, "`NODE` is not set"));
    check("[event]\nnode = \"gateway-${NODE}-1\"\n", ("E0107", 2, 17, "`NODE` is not set"));
    check("[event]\nnode = \"${NODE\"\n", ("E0107", 2, 9, "without a closing"));
    check("[admin]\n", ("E0102", 1, 1, "`address` is missing in [admin]"));
    check("[admin]\naddress = \"192.0.2.1:9091\"\n", ("E0203", 2, 11, "without `tls` is for loopback"));
    check("[admin]\naddress = \"127.0.0.1:9091\"\nhosts = []\n", ("E0105", 3, 9, "localhost"));
    check("[admin]\naddress = \"127.0.0.1:9091\"\nhosts = [\"*.example.com\"]\n", ("E0105", 3, 10, "is no host"));
    check("[admin]\naddress = \"127.0.0.1:9091\"\nport = 1\n", ("E0103", 3, 1, "unknown key"));
    check("[spike]\nbucket = \"1ms\"\n", ("E0105", 2, 10, "must be from 1s"));
    check("[spike]\nmin_excess = 0\n", ("E0105", 2, 14, "expected a whole number from 1"));
    check("[spike]\nlook_back = \"1h\"\n", ("E0103", 2, 1, "did you mean `lookback`?"));
    check("[sample]\nrecent = 1\n", ("E0105", 2, 10, "expected a whole number from 100"));
    check(
        "[sample]\nrecent = 5000\nmost = 4999\n",
        ("E0203", 1, 1, "must not be less than `recent`, which is a part of it | write at least `most = 5000`"),
    );
    check("[sample]\nenabled = 1\n", ("E0104", 2, 11, ""));
    check("[sample]\nrecents = 5\n", ("E0103", 2, 1, "did you mean `recent`?"));
    check("[store]\npath = 1\n", ("E0104", 2, 8, ""));
    check("[store]\nenabled = \"yes\"\n", ("E0104", 2, 11, ""));
    check("[store]\npathh = \"x\"\n", ("E0103", 2, 1, "did you mean `path`"));
    check("[governance]\nrequired = true\n", ("E0203", 2, 12, "add `[store]`"));
    check("[governance]\nrequired = 1\n", ("E0104", 2, 12, ""));
    check("[governance]\napprovals = { loosen = 0 }\n", ("E0105", 2, 24, "1 to 16"));
    check("[governance]\napprovals = { loosens = 2 }\n", ("E0103", 2, 15, "did you mean `loosen`"));
    check("[governance]\nproposal_ttl = \"0s\"\n", ("E0105", 2, 16, "must be from 1m to 30d"));
    let staged = |text: &str, expected| check(&format!("[store]\n[governance]\n{text}\n"), expected);
    staged("shadow = \"8d\"", ("E0105", 3, 10, "must be from 0s to 7d"));
    staged("canary = \"5%\"", ("E0104", 3, 10, ""));
    staged("canary = [\"5\"]", ("E0105", 3, 11, "a percentage such as"));
    staged("canary = [\"0%\"]", ("E0105", 3, 11, "for a larger share of the callers than the one before"));
    staged("canary = [\"5%\", \"5%\"]", ("E0105", 3, 17, "canary = [\"5%\", \"25%\", \"100%\"]"));
    let many: Vec<String> = (1..=17).map(|share| format!("\"{share}%\"")).collect();
    staged(&format!("canary = [{}]", many.join(", ")), ("E0105", 3, 10, "more than 16 steps"));
    staged("canary_step = \"0s\"", ("E0105", 3, 15, "must be from 1s to 7d"));
    staged("max_newly_denied = \"101%\"", ("E0105", 3, 20, "from \"0%\" to \"100%\""));
    staged("min_denied_callers = 0", ("E0105", 3, 22, "1 to 1000"));
    staged("min_denied_callers = 1001", ("E0105", 3, 22, "1 to 1000"));
    staged("min_requests = 1000001", ("E0105", 3, 16, "0 to 1000000"));
    staged("min_callers = 10001", ("E0105", 3, 15, "0 to 10000"));
    staged("max_wait = \"31d\"", ("E0105", 3, 12, "must be from 1s to 30d"));
    staged("min_denied_callers = \"3\"", ("E0104", 3, 22, ""));
    staged("min_denied_caller = 3", ("E0103", 3, 1, "did you mean `min_denied_callers`"));
    check("[governance]\nshadow = \"1m\"\n", ("E0203", 2, 10, "add `[store]`"));
    check("[governance]\ncanary = [\"5%\"]\n", ("E0203", 2, 10, "add `[store]`"));
    staged("canary = [\"5%\"]\n[sample]\nenabled = false", ("E0203", 3, 10, "from `[sample]`"));
    check("[governance]\nbreak_glass_max = \"5h\"\n", ("E0105", 2, 19, "must be from 1m to 4h"));
    check("[access]\nmost = 0\n", ("E0105", 2, 8, "1 to 10000"));
    check("[access]\nwait = \"1s\"\n", ("E0105", 2, 8, "must be from 1m to 30d"));
    check("[access]\nmostt = 5\n", ("E0103", 2, 1, "did you mean `most`"));
    check("[access]\nself_service = \"yes\"\n", ("E0104", 2, 16, "`true` or `false`"));
    check("[access]\nself_service = true\n", ("E0203", 2, 16, "add `[store]`"));
    check("[store]\n[access]\nhosts = [\"a.test\"]\n", ("E0203", 3, 10, "add `self_service = true`"));
    check("[store]\n[access]\nself_service = true\nhosts = [\"a.test\"]\n", ("E0203", 4, 10, "add `[identity.login]`"));
    // No route leads to the page there.
    let login =
        "[identity.login]\n[[identity.oidc]]\nname = \"staff\"\nissuer = \"https://op.example\"\nclient_id = \"x\"\n";
    let asks = "paths = [\"/api/**\"]\n[store]\n[access]\nself_service = true\nhosts = [\"a.test\"]\n";
    check(&format!("{asks}{login}"), ("E0203", 5, 10, "`paths = [\"/.portcullis/**\"]`"));
    for wrong in ["*.test", "a.test:443", "A.test", "https://a.test"] {
        check(&format!("[access]\nhosts = [\"{wrong}\"]\n"), ("E0105", 2, 10, "without a port"));
    }
    check("[backup]\n", ("E0203", 1, 1, "there is no store to make backups of"));
    check("[store]\n[backup]\nkeep = 0\n", ("E0105", 3, 8, "1 to 10000"));
    check("[store]\n[backup]\nevery = \"1s\"\n", ("E0105", 3, 9, "must be from 1m to 30d"));
    check("[route]\n", ("E0101", 1, 2, "written twice"));
    check("[ops\n", ("E0101", 1, 5, ""));
}

#[test]
fn the_top_of_the_file_is_strict_too() {
    let check = |text: &str, expected: &[(&str, &str, &str)]| {
        let folder = Folder::new();
        folder.write("portcullis.toml", text);
        folder.check(text, expected);
    };
    check(&GATEWAY.replace("version = 1", "version = 2"), &[("E0109", "portcullis.toml:1:11", "reads version 1")]);
    check(&GATEWAY.replace("version = 1", ""), &[("E0102", "portcullis.toml:1:1", "`version` is missing")]);
    check(&GATEWAY.replace("version = 1", "version = \"1\""), &[("E0104", "portcullis.toml:1:11", "without quotes")]);
    check(
        &GATEWAY.replace("version = 1", "version = 1\ninclude = \"a.toml\""),
        &[("E0104", "portcullis.toml:2:11", "write it in brackets")],
    );
    check(
        &GATEWAY.replace("[[listener]]", "[listener]"),
        &[("E0104", "portcullis.toml:2:1", "write [[listener]], with two brackets")],
    );
    check(
        "version = 1\n",
        &[
            ("E0102", "portcullis.toml:1:1", "there is no [[listener]]"),
            ("W0201", "portcullis.toml:1:1", "there is no [[route]]"),
        ],
    );
}

#[test]
fn a_value_from_the_environment_is_not_repeated_in_the_report() {
    let mut folder = Folder::new();
    folder.environment.insert("LIST".into(), "s3cret".into());
    folder.write("portcullis.toml", format!("{GATEWAY}[client_address]\ntrusted_proxies = [\"${{LIST}}\"]\n"));
    let Err(report) = folder.load() else { panic!("loaded") };
    assert!(!report.render_human(false).contains("s3cret"), "{}", report.render_human(false));
}

#[test]
fn tls_to_an_upstream_needs_what_it_names() {
    let made = rcgen::generate_simple_self_signed(vec!["gateway".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["gateway".to_owned()]).unwrap();
    let with = |tls: &str| {
        let folder = Folder::new();
        folder.write("ca.pem", made.cert.pem());
        folder.write("key.pem", made.signing_key.serialize_pem());
        folder.write("other.pem", other.signing_key.serialize_pem());
        folder.write("empty.pem", "nothing\n");
        let upstream = format!("[[upstream]]\nname = \"b\"\nendpoints = [\"https://b:1\"]\n[upstream.tls]\n{tls}");
        folder.write("portcullis.toml", format!("{GATEWAY}{upstream}"));
        folder
    };
    let check = |tls: &str, line: usize, column: usize, code: &str, fragment: &str| {
        let place = format!("portcullis.toml:{}:{column}", super::GATEWAY_LINES + line);
        with(tls).check(tls, &[(code, &place, fragment)]);
    };
    check("ca = \"empty.pem\"\n", 5, 6, "E0105", "`ca`: `empty.pem` cannot be used: it holds no certificate");
    check("ca = \"key.pem\"\n", 5, 6, "E0105", "it holds no certificate");
    check("ca = \"none.pem\"\n", 5, 6, "E0100", "none.pem");
    check("ca = \"ca.pem\"\ncertificate = \"ca.pem\"\n", 6, 15, "E0105", "add `key`");
    check("ca = \"ca.pem\"\nkey = \"key.pem\"\n", 6, 7, "E0105", "add `certificate`");
    check("ca = \"ca.pem\"\ncertificate = \"ca.pem\"\nkey = \"ca.pem\"\n", 7, 7, "E0105", "it holds no private key");
    check("ca = \"ca.pem\"\ncertificate = \"ca.pem\"\nkey = \"other.pem\"\n", 6, 15, "E0105", "belong together");
    check("ca = \"ca.pem\"\nserver_name = \"a b\"\n", 6, 15, "E0105", "without a port");
    check("ca = \"ca.pem\"\ninsecure = true\n", 6, 1, "E0103", "unknown key `insecure`");
    let good = with("ca = \"ca.pem\"\ncertificate = \"ca.pem\"\nkey = \"key.pem\"\nserver_name = \"b.internal\"\n");
    let loaded = good.loaded();
    assert!(loaded.proxy.upstreams[0].tls.is_none() && loaded.proxy.upstreams[1].tls.is_some());
    for file in ["ca.pem", "key.pem"] {
        assert!(loaded.files.contains(&good.path(file)), "{file} is among the files to watch");
    }
}

#[test]
fn what_an_upstream_endures_has_bounds() {
    let check = |appended: &str, column: usize, code: &str, fragment: &str| {
        let text = format!("[[upstream]]\nname = \"b\"\nendpoints = [\"http://b:1\"]\n{appended}\n");
        check_gateway(&text, (code, 4, column, fragment));
    };
    check("breaker = { failures = 0 }", 24, "E0105", "from 1 to 1000, found 0");
    check("breaker = { window = \"0s\" }", 22, "E0105", "must be from 1s to 1h");
    check("breaker = { open = 5 }", 20, "E0104", "write the unit");
    check("breaker = { opens = \"5s\" }", 13, "E0103", "did you mean `open`?");
    check("breaker = true", 11, "E0104", "expected a table");
    check("ejection = { max_share_percent = 101 }", 34, "E0105", "from 0 to 100");
    check("ejection = { first = \"1ms\" }", 22, "E0105", "must be from 10ms");
    check("retries = { budget_percent = \"20%\" }", 30, "E0104", "found a string");
    check("retries = { attempts = 3 }", 13, "E0103", "unknown key `attempts`");
    check("health = true", 10, "E0104", "expected a table");
    check("health = { path = \"health\" }", 19, "E0105", "begins with `/`");
    check("health = { path = \"/a/../b\" }", 19, "E0105", "no dot segments");
    check("health = { path = \"/a b\" }", 19, "E0105", "is not the path of a request");
    check("health = { path = \"/a?b c\" }", 19, "E0105", "is not the path of a request");
    check("health = {}", 10, "E0102", "`path` is missing in `health` of [[upstream]]");
    check("health = { path = \"\", status = [100] }", 33, "E0105", "from 200 to 599");
    check("health = { path = \"\", interval = \"1ms\" }", 34, "E0105", "must be from 100ms");
    check("health = { path = \"\", healthy = 0 }", 33, "E0105", "from 1 to 100");
    check("health = { path = \"\", every = \"1s\" }", 23, "E0103", "unknown key `every`");
    check("slow_start = 30", 14, "E0104", "write the unit");
    check("max_requests = 0", 16, "E0105", "from 1 to 10000000");
    check("dns_refresh = \"0s\"", 15, "E0105", "must be from 100ms");
    check("http = \"3\"", 8, "E0105", "expected \"1\", \"2\" or \"auto\", found \"3\"");
    check("http = 2", 8, "E0104", "expected \"1\", \"2\" or \"auto\"");
    check("http2 = { max_streams = 0 }", 25, "E0105", "from 1 to 100000");
    check("http2 = { max_connections = 1001 }", 29, "E0105", "from 1 to 1000");
    check("http2 = { ping_timeout = \"0s\" }", 26, "E0105", "must be from 100ms");
    check("http2 = { streams = 3 }", 11, "E0103", "unknown key `streams`");
}

#[test]
fn an_upstream_is_spoken_to_in_one_version() {
    let check = |endpoints: &str, http: &str, line: usize, column: usize, fragment: &str| {
        let text = format!("[[upstream]]\nname = \"b\"\nendpoints = {endpoints}\n{http}\n");
        check_gateway(&text, ("E0203", line, column, fragment));
    };
    check("[\"h2c://b:1\"]", "http = \"1\"", 4, 8, "write `http = \"2\"`, or leave it out");
    check("[\"h2c://b:1\"]", "http = \"auto\"", 4, 8, "and `http` says otherwise");
    check("[\"h2c://b:1\", \"http://c:1\"]", "", 3, 13, "make two upstreams of it");
}
