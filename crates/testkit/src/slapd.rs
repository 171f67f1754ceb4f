//! A real OpenLDAP server: over plain text, StartTLS and TLS, on ports that it keeps over a restart.
//!
//! It has `dc=test` with `ou=people`, `ou=groups` and a reader, keeps `memberOf` (of direct groups alone), and gives nobody more than
//! 500 entries unless they are asked for in pages. It is no Active Directory: it has neither the matching rule that follows groups of groups
//! nor `userAccountControl`; [`crate::active_directory`] stands in for those.
//!
//! A missing program fails the test; `cargo xtask test` installs `slapd` and `ldap-utils`.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use tempfile::TempDir;

use crate::certificates::{Authority, San};
use crate::ports::free_port;
use crate::process::{Process, Program, Signal};
use crate::wait::PATIENCE;

/// Where entries are.
pub const BASE: &str = "dc=test";
/// Who may read, and nothing else.
pub const READER: &str = "cn=reader,dc=test";
/// The reader's password.
pub const READER_PASSWORD: &str = "reader-secret";
const ADMIN: &str = "cn=admin,dc=test";
const ADMIN_PASSWORD: &str = "admin-secret";

/// A running slapd. Dropping it stops it.
#[derive(Debug)]
pub struct Slapd {
    process: Option<Process>,
    folder: TempDir,
    plain: SocketAddr,
    tls: SocketAddr,
}

impl Slapd {
    /// One that is ready, with nobody in it.
    ///
    /// # Panics
    /// When there is no slapd, or it does not start.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("portcullis-slapd")
            .tempdir()
            .expect("the folder for temporary files is writable");
        let address = || SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let (plain, tls) = (address(), address());
        let authority = Authority::new("directory");
        let issued = authority.issue(&[San::Host("localhost"), San::Host("127.0.0.1")]);
        let write =
            |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("a new folder is writable");
        write("ca.pem", &authority.certificate());
        write("server.pem", &issued.certificate);
        write("server.key", &issued.key);
        write("slapd.conf", &configuration(&folder));
        fs::create_dir(folder.path().join("data")).expect("a new folder is writable");
        let mut slapd = Self { process: None, folder, plain, tls };
        slapd.start_again();
        slapd.add(&format!(
            "dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\ndc: test\no: test\n\n\
             dn: ou=people,{BASE}\nobjectClass: organizationalUnit\nou: people\n\n\
             dn: ou=groups,{BASE}\nobjectClass: organizationalUnit\nou: groups\n\n\
             dn: {READER}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: reader\n\
             userPassword: {READER_PASSWORD}\n"
        ));
        slapd
    }

    /// Starts it once more, after [`Self::kill`], on the same ports and with the same entries.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&mut self) {
        let urls = format!("ldap://{} ldaps://{}", self.plain, self.tls);
        let conf = self.folder.path().join("slapd.conf");
        let mut process = Program::new(program("PORTCULLIS_SLAPD", "/usr/sbin/slapd"))
            .args(["-d", "0", "-h", &urls])
            .arg("-f")
            .arg(conf)
            .start();
        process.wait_for_port(self.plain);
        process.wait_for_port(self.tls);
        self.process = Some(process);
    }

    /// Ends it at once, by its process id.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::Kill);
            process.wait_exit(PATIENCE);
        }
    }

    /// Stops its process where it is, so that its connections stay and nothing answers.
    pub fn pause(&mut self) {
        if let Some(process) = &mut self.process {
            process.signal(Signal::Stop);
        }
    }

    /// Lets it go on.
    pub fn go_on(&mut self) {
        if let Some(process) = &mut self.process {
            process.signal(Signal::Continue);
        }
    }

    /// Where it listens for plain text, and for StartTLS.
    pub fn plain(&self) -> String {
        format!("ldap://{}", self.plain)
    }

    /// Where it listens for TLS.
    pub fn tls(&self) -> String {
        format!("ldaps://{}", self.tls)
    }

    /// The authority that signed its certificate, which is for `localhost` and `127.0.0.1`.
    pub fn ca(&self) -> String {
        fs::read_to_string(self.folder.path().join("ca.pem")).expect("it was written")
    }

    /// Adds a person to `ou=people`.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn add_person(&self, uid: &str, more: &str) {
        self.add(&format!(
            "dn: uid={uid},ou=people,{BASE}\nobjectClass: inetOrgPerson\nuid: {uid}\ncn: {uid}\nsn: {uid}\n{more}\n"
        ));
    }

    /// Adds groups to `ou=groups`, each with its members: `uid=zoe,ou=people` or `cn=all,ou=groups`.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn add_groups(&self, groups: &[(&str, &[&str])]) {
        let mut ldif = String::new();
        for (name, members) in groups {
            let _ = write!(ldif, "dn: cn={name},ou=groups,{BASE}\nobjectClass: groupOfNames\ncn: {name}\n");
            for member in *members {
                let _ = writeln!(ldif, "member: {member},{BASE}");
            }
            ldif.push('\n');
        }
        self.add(&ldif);
    }

    /// Adds entries (RFC 2849).
    ///
    /// # Panics
    /// When the server refuses.
    pub fn add(&self, ldif: &str) {
        self.run("PORTCULLIS_LDAPADD", "/usr/bin/ldapadd", ldif);
    }

    /// Changes entries (RFC 2849).
    ///
    /// # Panics
    /// When the server refuses.
    pub fn modify(&self, ldif: &str) {
        self.run("PORTCULLIS_LDAPMODIFY", "/usr/bin/ldapmodify", ldif);
    }

    /// Takes a member out of a group.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn remove_member(&self, group: &str, member: &str) {
        self.modify(&format!(
            "dn: cn={group},ou=groups,{BASE}\nchangetype: modify\ndelete: member\nmember: {member},{BASE}\n"
        ));
    }

    fn run(&self, variable: &str, usual: &str, ldif: &str) {
        let file = self.folder.path().join("change.ldif");
        fs::write(&file, ldif).expect("the folder is writable");
        let finished = Program::new(program(variable, usual))
            .args(["-x", "-H", &self.plain(), "-D", ADMIN, "-w", ADMIN_PASSWORD, "-f"])
            .arg(&file)
            .run(PATIENCE);
        assert!(finished.status.success(), "{usual}: {:?}\n{ldif}", finished.stderr);
    }
}

/// Where a program is: where its variable says, or in the usual place.
fn program(variable: &str, usual: &str) -> PathBuf {
    std::env::var_os(variable).filter(|path| !path.is_empty()).map_or_else(|| usual.into(), PathBuf::from)
}

fn configuration(folder: &TempDir) -> String {
    let d = folder.path().display();
    format!(
        "include /etc/ldap/schema/core.schema\n\
         include /etc/ldap/schema/cosine.schema\n\
         include /etc/ldap/schema/inetorgperson.schema\n\
         include /etc/ldap/schema/nis.schema\n\
         modulepath /usr/lib/ldap\n\
         moduleload back_mdb\n\
         moduleload memberof\n\
         pidfile {d}/slapd.pid\n\
         TLSCACertificateFile {d}/ca.pem\n\
         TLSCertificateFile {d}/server.pem\n\
         TLSCertificateKeyFile {d}/server.key\n\
         sizelimit size.soft=100 size.hard=500 size.prtotal=unlimited\n\
         database mdb\n\
         suffix \"{BASE}\"\n\
         rootdn \"{ADMIN}\"\n\
         rootpw {ADMIN_PASSWORD}\n\
         directory {d}/data\n\
         dbnosync\n\
         index objectClass,uid,member eq\n\
         access to attrs=userPassword by anonymous auth by * none\n\
         access to * by dn.exact=\"{READER}\" read by * none\n\
         overlay memberof\n\
         memberof-dangling ignore\n"
    )
}
