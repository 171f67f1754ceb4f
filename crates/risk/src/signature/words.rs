//! The words. Each counts so much; `[ban] signatures` says how much together is an offence (2.5 by default).
//!
//! - 3: nobody sends this unless to break in. One is enough.
//! - 1.3: two are enough.
//! - 1: three are enough. It may be text that somebody searches for, or a file that a tool asks for by habit.
//!
//! A word is lower-case ASCII and is searched for whatever its case. What a browser or an ordinary program may send does not belong
//! here: `/.well-known/`, `/favicon.ico`, `/robots.txt`, `/xmlrpc` of somebody who has a weblog.

/// One word.
#[derive(Debug)]
pub(super) struct Word {
    pub(super) text: &'static str,
    pub(super) name: &'static str,
    pub(super) weight: f64,
}

macro_rules! words {
    ($($name:literal $weight:literal: $($text:literal)+;)+) => {
        &[$($(Word { text: $text, name: $name, weight: $weight }),+),+]
    };
}

/// Syntax of exploits, in a path or a query whose escapes are undone, whatever the answer was; of the first, also in headers.
pub(super) const PAYLOADS: &[Word] = words! {
    "jndi lookup" 3.0: "${jndi:" "${lower:" "${upper:" "${::-" "${env:" "${sys:" "${java:" "${ctx:";
    "text lookup" 3.0: "${script:" "${dns:" "${url:utf" "${base64decoder:" "${urldecoder:";
    "expression language" 3.0: "@java.lang." "java.lang.runtime" "java.lang.processbuilder" "getruntime(" "freemarker.template.utility"
        "class.module.classloader" "#_memberaccess" "%{(#" "${(#" "#context[" "t(java." "ognl.ognlcontext" ".getclass().forname";
    "system file" 3.0: "/etc/passwd" "/etc/shadow" "/proc/self/" "/windows/win.ini" "/boot.ini" "file:///" "/usr/share/locale/locale.alias"
        "/usr/share/libreoffice/" "/.ssh/id_rsa";
    "path traversal" 3.0: "../../../" "/..;/" "..//..//" "/%c0%ae";
    "path traversal, short" 1.3: "../../" "/../";
    "php" 3.0: "php://input" "php://filter" "data://text" "expect://" "phar://" "<?php" "<?=" "call_user_func_array" "allow_url_include"
        "auto_prepend_file" "/think/app/invokefunction" "/think/container/" "/think/view/driver/" "eval-stdin.php" "htmlawedtest.php"
        "base64_decode(" "system($_" "shell_exec(" "passthru(" "auto_append_file" "disable_functions=" "suhosin.simulation" "cgi.force_redirect"
        "/getphpinfo.php";
    "web shell" 3.0: "/c99.php" "/c99shell" "/r57.php" "/r57shell" "/wso.php" "/wso2.php" "/b374k" "/alfacgiapi" "/indoxploit" "/phpspy" "/weevely";
    "shell command" 3.0: ";wget " "|wget " "`wget " "$(wget" ";curl " "|curl " "`curl " "$(curl" "&&wget " "&&curl " ";cat /" "|cat /"
        ";sh " "|sh " "|bash" "/bin/sh" "/bin/bash" "rm -rf /" "chmod 777 " "busybox " "/dev/tcp/" "powershell -" "cmd.exe /c" "cmd.exe?/c" "${ifs}" "$(whoami" "`whoami`"
        "$(id)" "`id`" "|id;" ";nc -" "|nc -" "$(sleep " "`sleep ";
    "cloud metadata" 3.0: "169.254.169.254" "metadata.google.internal" "100.100.100.200/latest";
    "deserialization" 3.0: "ac ed 00 05" "ro0abx" "o:8:\"stdclass\"" "!!javax.script" "!!python/object";
    "scanner's greeting" 3.0: "w00tw00t" "/muieblackcat" "hellothinkphp" "/nmaplowercheck" "/nice%20ports" "/trinity.txt.bak" "/nice ports";
    "sql" 1.3: "union select" "union all select" "union/**/select" "' or '1'='1" "' or 1=1" "\" or 1=1" ") or 1=1" "' and 1=1" "' and '1'='1"
        "information_schema" "waitfor delay" "pg_sleep(" "benchmark(" "xp_cmdshell" "extractvalue(" "updatexml(" "sleep(5)" "sleep(10)"
        "load_file(" "into outfile" "order by 100" "dbms_pipe" "sysobjects" ";drop table" "; drop table" "randomblob(";
    "script" 1.0: "<script" "<svg" "<iframe" "<embed" "<object" "<img src" "<body onload" "<style" "<link" "<meta" "<form" "<input" "<marquee" "<base "
        "<div" "<a " "<a>" "<video" "<audio" "<math" "javascript:" "vbscript:" "onerror=" "onload=" "onmouseover=" "onfocus=" "document.cookie" "alert(" "prompt("
        "confirm(" "string.fromcharcode" "expression(";
    "template" 1.3: "{{7*7}}" "${7*7}" "<%= " "#{7*7}" "{{config" "__globals__" "{{''.__class__" "{{request.";
    "nosql" 1.0: "[$ne]" "[$gt]" "[$regex]" "[$where]";
    "prototype" 1.3: "__proto__" "constructor[prototype]" "constructor.prototype";
    "line break" 1.3: "\r\nset-cookie:" "\r\nlocation:" "\nset-cookie:";
};

/// Files and programs that are searched for, where the answer was 400 to 499: a service that has such a path is not attacked by being used.
pub(super) const TARGETS: &[Word] = words! {
    "program with a known hole" 2.6: "telerik.web.ui.webresource.axd" "/setupadministrator.action" "/server-info.action" "/_ignition/execute-solution"
        "/setup.cgi" "/networkdiag.cgi" "/ztp_gate.php" "/.js.map" "/boaform/" "/hnap1" "/gponform/" "/cgi-bin/luci/;stok" "/goform/" "/luci/;stok"
        "/invoker/jmxinvokerservlet" "/jmx-console" "/web-console/" "/axis2-admin" "/wls-wsat/" "/_async/asyncresponseservice" "/console/images/%252e"
        "/console/login/loginform.jsp" "/remote/fgt_lang" "/remote/logincheck" "/dana-na/" "/dana-ws/" "/mgmt/tm/util/bash" "/tmui/login.jsp" "/vpns/portal"
        "/vpn/index.html" "/owa/auth/x.js" "/autodiscover/autodiscover.json" "/ecp/default.flt" "/powershell/?" "/sdk/vimservice" "/ui/vropspluginui"
        "/ui/vcav-bootstrap" "/catalog-portal/" "/sap/bc/gui/" "/sap/bc/soap" "/nwa/" "/ctc/servlet" "/irj/portal" "/developmentserver/metadatauploader"
        "/geoserver/web" "/nacos/v1" "/druid/index.html" "/solr/admin" "/actuator/gateway" "/actuator/env" "/actuator/heapdump" "/actuator/jolokia" "/jolokia/"
        "/manager/html" "/host-manager/" "/struts2-showcase" "/jenkins/script" "/script/groovy" "/hudson/script" "/phpunit/" "/vendor/htmlawed" "/telescope/requests"
        "/_profiler/phpinfo" "/debug/default/view" "/horde/" "/roundcube/" "/zabbix/" "/cacti/" "/nagios/" "/glpi/" "/webmin" "/cgi-bin/test-cgi" "/cgi-bin/printenv"
        "/cgi-bin/php" "/cgi-bin/.%" "/cgi-bin/../" "/shell.php" "/c99.php" "/r57.php" "/wso.php" "/alfa.php" "/webshell" "/cmd.jsp" "/shell.jsp" "/eval.php"
        "/fckeditor/" "/ckfinder/" "/elfinder/" "/kcfinder/" "/filemanager/upload" "/api/jsonws/invoke" "/_next/../" "/apisix/admin" "/v1/agent/self"
        "/containers/json" "/api/v1/pods" "/version/../" "/tomcatwar.jsp" "/mifs/.;/" "/mifs/aad/" "/human.aspx" "/guestaccess.aspx" "/citrix/" "/logon/logonpoint"
        "/core/skin/login.aspx" "/wsman" "/evox/about" "/sitecore/" "/umbraco/" "/index.php/.js" "/onvif/" "/device.rsp" "/isapi/" "/system/deviceinfo" "/pan_help/"
        "/global-protect/" "/ssl-vpn/" "/admin/config.php" "/vicidial/" "/recordings/index.php" "/a2billing/" "/login.cgi" "/cgi-mod/" "/ws_ftp" "/mobileiron"
        "/saas/auth" "/securityrealm/user/" "/plugins/servlet/" "/pages/createpage-entervariables.action" "/template/aui/text-inline.vm" "/rest/tinymce/1/macro"
        "/descriptorbyname/" "/user/register/ahah" "/?q=user/password" "/clients/mycrl" "/sslmgr" "/mailview" "/zimbraadmin" "/service/extension/"
        "/remote_agent.php" "/json/setup-restore" "/setup/setupdbchoice" "/api/v2/cmdb/system" "/php-cgi/php-cgi" "/webui_wsma_http" "/nas_sharing.cgi" "/vitogate.cgi"
        "/web-inf/" "/meta-inf/maven" "/__debugging_center_utils" "/ajax/render/widget_php" "/tmunblock.cgi"
        "/dnscfg.cgi" "/apply_sec.cgi" "/board.cgi" "/shell?cd" "/ztp/cgi-bin" "/language/swedish${ifs}" "/portal/redlion" "/cgi-bin/nobody" "/cgi/conf.bin";
    "secret file" 1.0: "/.env" "/.git" "/.svn" "/.hg/" "/.bzr" "/.cvs" "/.ht" "/.ssh" "/.aws/" "/.azure/" "/.kube/" "/.config" "/.docker" "/.npmrc" "/.pypirc" "/.netrc" "/.bash"
        "/.zsh" "/.sh_history" "/.history" "/.mysql_history" "/.psql_history" "/.passwd" "/.pwd" "/.perf" "/.profile" "/.rhosts" "/.listing" "/.subversion" "/.ds_store"
        "/.vscode/" "/.idea/" "/.sftp" "/.ftp" "/.travis.yml" "/.gitlab-ci" "/.circleci" "/.terraform" "/.pgpass" "/.my.cnf" "/.viminfo" "/.lesshst" "/.wp-config" "/.swp"
        "/id_rsa" "/id_dsa" "/id_ed25519" "/authorized_keys" "/web.config" "/wp-config" "/configuration.php-dist" "/settings.php.bak" "/config.php.bak" "/config.inc.php"
        "/local_settings.py" "/credentials.json" "/secrets.yml" "/secrets.json" "/database.yml" "/application.properties" "/appsettings.json" "/docker-compose.yml"
        "/backup.sql" "/dump.sql" "/db.sql" "/database.sql" "/mysql.sql" ".sql" "/backup.zip" "/backup.tar" "/www.zip" "/site.zip" "/wwwroot." ".bak" ".php~" ".php.old" ".php.save"
        ".php.swp" ".php.orig" "/phpinfo" "/info.php" "/test.php" "/server-status" "/server-info" "/elmah.axd" "/trace.axd" "/error_log" "/debug.log" "/core.dump";
    "weblog software" 0.9: "/wp-admin" "/wp-login.php" "/wp-content/plugins/" "/wp-content/themes/" "/wp-content/uploads/" "/wp-includes/" "/wp-json/wp/v2/users" "/xmlrpc.php"
        "/administrator/index.php" "/administrator/components/" "/joomla" "/drupal" "/magento" "/typo3" "/user/login?" "/bitrix/" "/components/com_" "/modules/mod_" "/sites/default/files"
        "/wp-cron.php" "/wlwmanifest.xml" "/license.txt" "/magmi/" "/prestashop";
    "database tool" 1.3: "/phpmyadmin" "/pma/" "/myadmin" "/mysqladmin" "/dbadmin" "/adminer" "/pgadmin" "/sqlite" "/mysql-admin" "/sqlmanager" "/websql" "/php-my-admin" "/_phpmyadmin";
};

/// Names of scanners, in the user agent.
pub(super) const AGENTS: &[Word] = words! {
    "scanner" 1.3: "nikto" "sqlmap" "nuclei" "masscan" "zgrab" "gobuster" "dirbuster" "wpscan" "nmap scripting engine" "openvas" "acunetix" "netsparker" "feroxbuster"
        "fuzz faster" "wfuzz" "thc-hydra" "jorgee" "zmeu" "w3af" "arachni" "havij" "l9explore" "l9tcpid" "whatweb" "jaeles" "commix" "skipfish" "joomscan"
        "morfeus" "muieblackcat" "libredtail" "fimap" "webinspect" "cgichk" "blackwidow" "sqlninja"
        "interactsh" "httpx - open-source" "dalfox" "xsstrike" "wapiti" "nessus" "appscan" "metasploit" "burpsuite" "zaproxy";
};
