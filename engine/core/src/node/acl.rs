//! ACL and its subcommands, AUTH, and the question before every command whether its user may run it.
//!
//! Always true: a client whose user is gone, or that listens to a channel its user may use no more, is disconnected before
//! it is answered again.
//!
//! Not here: what a user may do (`crate::acl`), HELLO (`connection.rs`).

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use super::{Node, config::Task, execute::Request, server::reply_help};
use crate::{
    acl::{Context, DEFAULT, Denial, LogEntry, Reason, Selector},
    bytes::sha,
    commands::{Action, Args, CommandResult, NodeCommand, parse_int, printable, spec::ACL_NAMES, table::Row},
    error::{Error, SYNTAX, wrong_arity},
    host::{ClientId, Effect, Effects, errno_text},
    session::{Session, Waiting},
};

/// Bits of a password when nothing is said.
const PASSWORD_BITS: i64 = 256;

/// Most bits of a password.
const PASSWORD_BITS_MAX: i64 = 4096;

/// Entries ACL LOG shows when nothing is said.
const LOG_ENTRIES: i64 = 10;

/// What ACL HELP says.
const HELP: &[(&str, &str)] = &[
    ("CAT [<category>]", "Categories, or the commands of one."),
    ("DELUSER <username> [<username> ...]", "Remove users, and end their connections."),
    ("DRYRUN <username> <command> [<arg> ...]", "Whether a user may run a command, without running it."),
    ("GENPASS [<bits>]", "A random password, of 256 bits unless told."),
    ("GETUSER <username>", "All about a user."),
    ("LIST", "Users with their rules, one line each."),
    ("LOAD", "Take the users from the ACL file."),
    ("LOG [<count>|RESET]", "What was denied lately, or forget it."),
    ("SAVE", "Write the users to the ACL file."),
    ("SETUSER <username> <rule> [<rule> ...]", "Make or change a user."),
    ("USERS", "Names of all users."),
    ("WHOAMI", "The user of this connection."),
];

impl Node {
    // --- Who somebody is ----------------------------------------------------------------------------

    /// Whether a new client must authenticate.
    pub(super) fn is_auth_required(&self) -> bool {
        self.acl.is_auth_required()
    }

    pub(super) fn auth(&mut self, session: &mut Session, args: Args<'_>) -> CommandResult {
        let (user, password) = match args {
            [_, _] if self.acl.default_user().is_nopass() => {
                return Err(Error::new(
                    "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                     configuration is correct?",
                ));
            }
            [_, password] => (DEFAULT.as_bytes(), *password),
            [_, user, password] => (*user, *password),
            _ => return Err(SYNTAX),
        };
        self.authenticate(session, args[0], user, password)?;
        session.reply.ok();
        Ok(())
    }

    /// Makes a client this user if the password is right; `command` is how it asked, for ACL LOG.
    pub(super) fn authenticate(
        &mut self,
        session: &mut Session,
        command: &[u8],
        user: &[u8],
        password: &[u8],
    ) -> CommandResult {
        let name = String::from_utf8_lossy(user);
        let is_right = self.acl.get(&name).is_some_and(|user| user.is_on() && user.accepts(password));
        if !is_right {
            self.log_denial(session, Reason::Auth, command, &name);
            return Err(Error::new("WRONGPASS invalid username-password pair or user is disabled."));
        }
        session.is_authenticated = true;
        session.user = name.into_owned();
        session.unrestricted_at = None;
        Ok(())
    }

    // --- What somebody may --------------------------------------------------------------------------

    /// Whether a session's user may run a command.
    ///
    /// # Errors
    /// What is denied; it stands in ACL LOG then.
    pub(super) fn check_rights(
        &mut self,
        session: &mut Session,
        row: &Row,
        args: Args<'_>,
    ) -> Result<(), Denial> {
        let generation = self.acl.generation();
        if session.unrestricted_at == Some(generation) {
            return Ok(());
        }
        let denial = match self.acl.get(&session.user) {
            Some(user) if user.is_unrestricted() => {
                session.unrestricted_at = Some(generation);
                return Ok(());
            }
            Some(user) => match user.may_run(row, args) {
                Ok(()) => return Ok(()),
                Err(denial) => denial,
            },
            // Its end is on the way.
            None => Denial { reason: Reason::Command, index: 0 },
        };
        let user = session.user.clone();
        match denial.reason {
            Reason::Command => self.log_denial(session, denial.reason, row.full_name().as_bytes(), &user),
            _ => self.log_denial(session, denial.reason, args[denial.index], &user),
        }
        Err(denial)
    }

    /// Whether a session's user may run a command on whatever keys it comes upon.
    pub(super) fn may_read_all(&self, session: &Session, row: &Row, args: Args<'_>) -> bool {
        session.unrestricted_at == Some(self.acl.generation())
            || self.acl.get(&session.user).is_some_and(|user| user.may_run_reading_all(row, args))
    }

    fn log_denial(&mut self, session: &Session, reason: Reason, object: &[u8], username: &str) {
        let counters = &mut self.counters;
        let counter = match reason {
            Reason::Command => &mut counters.acl_denied_cmd,
            Reason::Key => &mut counters.acl_denied_key,
            Reason::Channel => &mut counters.acl_denied_channel,
            Reason::Auth => &mut counters.acl_denied_auth,
        };
        *counter += 1;
        let now_ms = self.now.wall_ms();
        let event = LogEntry {
            count: 1,
            reason,
            context: match (session.is_script, session.transaction.is_some()) {
                (true, _) => Context::Script,
                (false, true) => Context::Multi,
                (false, false) => Context::TopLevel,
            },
            object: object.to_vec(),
            username: username.into(),
            client_info: self.describe(session, 0),
            id: 0,
            created_ms: now_ms,
            updated_ms: now_ms,
        };
        self.acl_log.add(event, self.config.acllog_max_len as usize);
    }

    // --- Users from files ---------------------------------------------------------------------------

    /// Takes the users of the configuration, or those of the file it names, whose text is given.
    ///
    /// # Errors
    /// What to tell before the server ends.
    pub fn load_users(&mut self, aclfile: Option<&str>) -> Result<(), String> {
        match aclfile {
            None => self.acl.load_declared(&self.config.users, &self.table),
            Some(_) if !self.config.users.is_empty() => Err(
                "Configuring Redis with users defined in redis.conf and at the same setting an ACL file path is invalid. \
                 This setup is very likely to lead to configuration errors and security holes, please define either an \
                 ACL file or declare users directly in your redis.conf, but not both."
                    .into(),
            ),
            Some(text) => self
                .acl
                .load_text(&self.config.aclfile, text, &self.table)
                .map_err(|errors| format!("Aborting Redis startup because of ACL errors: {errors}")),
        }
    }

    // --- The commands -------------------------------------------------------------------------------

    /// Carries out a subcommand of ACL.
    pub(super) fn acl_command(
        &mut self,
        session: &mut Session,
        command: NodeCommand,
        args: Args<'_>,
        effects: &mut Effects,
    ) -> CommandResult {
        use NodeCommand::*;
        match command {
            AclCat => self.acl_cat(session, args)?,
            AclDelUser => self.acl_deluser(session, args, effects)?,
            AclDryRun => self.acl_dryrun(session, args)?,
            AclGenPass => self.acl_genpass(session, args)?,
            AclGetUser => self.acl_getuser(session, args[2]),
            AclHelp => reply_help(&mut session.reply, "ACL", HELP),
            AclList => {
                write_list(session, self.acl.declarations().map(|declaration| format!("user {declaration}")));
            }
            AclLog => self.acl_log_command(session, args)?,
            AclSetUser => self.acl_setuser(session, args, effects)?,
            AclUsers => write_list(session, self.acl.names().map(String::from)),
            AclWhoAmI => session.reply.bulk(session.user.as_bytes()),
            _ => unreachable!("{command:?} is none of ACL"),
        }
        Ok(())
    }

    fn acl_setuser(&mut self, session: &mut Session, args: Args<'_>, effects: &mut Effects) -> CommandResult {
        self.acl
            .set_user(args[2], &args[3..], &self.table)
            .map_err(|reason| Error::text(format!("ERR {reason}")))?;
        self.end_forbidden_sessions(Some(session), effects);
        session.reply.ok();
        Ok(())
    }

    fn acl_deluser(&mut self, session: &mut Session, args: Args<'_>, effects: &mut Effects) -> CommandResult {
        if args[2..].contains(&DEFAULT.as_bytes()) {
            return Err(Error::new("ERR The 'default' user cannot be removed"));
        }
        let names: Vec<String> = args[2..].iter().map(|name| printable(name)).collect();
        let count = names.iter().filter(|name| self.acl.remove(name)).count();
        self.end_forbidden_sessions(Some(session), effects);
        session.reply.integer(count as i64);
        Ok(())
    }

    /// Disconnects clients whose user is gone, or that listen to what their user may not hear any more.
    ///
    /// `author` is the session that is out of its slot, if one is.
    fn end_forbidden_sessions(&mut self, author: Option<&mut Session>, effects: &mut Effects) {
        let others: Vec<ClientId> = self
            .sessions
            .iter()
            .filter(|session| !self.may_stay(session))
            .map(|session| session.client)
            .collect();
        for client in others {
            self.with_session(client, |node, session| node.end_session(session, true, effects));
        }
        if let Some(author) = author.filter(|author| !self.may_stay(author)) {
            // It still gets its answer.
            self.end_session(author, false, effects);
        }
    }

    fn end_session(&mut self, session: &mut Session, now: bool, effects: &mut Effects) {
        session.is_authenticated = false;
        session.user = DEFAULT.into();
        self.close_session(session, now, effects);
    }

    fn may_stay(&self, session: &Session) -> bool {
        let Some(user) = self.acl.get(&session.user) else { return false };
        let channels = session.channels.iter().chain(&session.shard_channels);
        channels.into_iter().all(|channel| user.may_use_channel(channel, false))
            && session.patterns.iter().all(|pattern| user.may_use_channel(pattern, true))
    }

    pub(super) fn acl_save(
        &mut self,
        session: &mut Session,
        request: &Request<'_>,
        effects: &mut Effects,
    ) -> Result<Option<Waiting>, Error> {
        let effect = Effect::WriteConfig { path: self.aclfile()?, text: self.acl.to_text() };
        self.begin_file_job(session, request, Task::AclSave, effect, effects)
    }

    pub(super) fn acl_load(
        &mut self,
        session: &mut Session,
        request: &Request<'_>,
        effects: &mut Effects,
    ) -> Result<Option<Waiting>, Error> {
        let effect = Effect::ReadConfig { path: self.aclfile()? };
        self.begin_file_job(session, request, Task::AclLoad, effect, effects)
    }

    /// Absolute path of the users' file.
    fn aclfile(&self) -> Result<String, Error> {
        match self.config.aclfile.as_str() {
            "" => Err(Error::new(
                "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the \
                 ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) \
                 in order to store users in the Redis configuration.",
            )),
            path if path.starts_with('/') => Ok(path.into()),
            path => Ok(format!("{}/{path}", self.data_dir)),
        }
    }

    /// The users' file was read: its users replace all there were.
    ///
    /// `author` asked for it and still gets an answer.
    pub(super) fn take_aclfile(
        &mut self,
        author: ClientId,
        text: Result<String, i32>,
        effects: &mut Effects,
    ) -> CommandResult {
        let path = &self.config.aclfile;
        let text = text.map_err(|errno| {
            Error::text(format!("ERR Error loading ACLs, opening file '{path}': {}", errno_text(errno)))
        })?;
        self.acl
            .load_text(path, &text, &self.table)
            .map_err(|errors| Error::text(format!("ERR {errors}")))?;
        // As in Redis 7.2: what a user may do from now on is for those who authenticate from now on.
        let others: Vec<ClientId> = self
            .sessions
            .iter()
            .filter(|session| session.user != DEFAULT)
            .map(|session| session.client)
            .collect();
        for client in others {
            let is_author = client == author;
            self.with_session(client, |node, session| node.end_session(session, !is_author, effects));
        }
        self.end_forbidden_sessions(None, effects);
        Ok(())
    }

    fn acl_getuser(&self, session: &mut Session, name: &[u8]) {
        let Some(user) = self.acl.get(&printable(name)) else { return session.reply.null() };
        session.reply.map(6);
        session.reply.bulk(b"flags");
        let flags = user.flags();
        session.reply.set(flags.len());
        for flag in flags {
            session.reply.bulk(flag.as_bytes());
        }
        session.reply.bulk(b"passwords");
        write_list(session, user.passwords().iter().cloned());
        let [root, others @ ..] = user.selectors() else { unreachable!("there is always one") };
        write_selector(session, root);
        session.reply.bulk(b"selectors");
        session.reply.array(others.len());
        for selector in others {
            session.reply.map(3);
            write_selector(session, selector);
        }
    }

    fn acl_cat(&self, session: &mut Session, args: Args<'_>) -> CommandResult {
        match args {
            [_, _] => write_list(session, ACL_NAMES.iter().map(|(_, name)| name.to_string())),
            [_, _, category] => {
                let (bit, _) = ACL_NAMES
                    .iter()
                    .find(|(_, name)| category.eq_ignore_ascii_case(name.as_bytes()))
                    .ok_or_else(|| Error::text(format!("ERR Unknown category '{}'", printable(category))))?;
                let rows = self.table.rows().iter().filter(|row| row.command.all_categories() & bit != 0);
                write_list(session, rows.map(Row::full_name));
            }
            _ => return Err(wrong_subcommand_use(args)),
        }
        Ok(())
    }

    fn acl_dryrun(&self, session: &mut Session, args: Args<'_>) -> CommandResult {
        let name = printable(args[2]);
        let user = self.acl.get(&name).ok_or_else(|| Error::text(format!("ERR User '{name}' not found")))?;
        let tried = &args[3..];
        let not_found = || Error::text(format!("ERR Command '{}' not found", printable(args[3])));
        let row = self.table.resolve(tried).ok_or_else(not_found)?;
        if matches!(row.command.action, Action::Container) {
            return Err(not_found());
        }
        if !row.command.takes(tried.len()) {
            return Err(wrong_arity(&row.full_name()));
        }
        match user.may_run(&row, tried) {
            Ok(()) => session.reply.ok(),
            Err(denial) => session.reply.bulk(describe_denial(&name, denial, &row, tried).as_bytes()),
        }
        Ok(())
    }

    fn acl_genpass(&mut self, session: &mut Session, args: Args<'_>) -> CommandResult {
        let bits = match args {
            [_, _] => PASSWORD_BITS,
            [_, _, bits] => parse_int(bits)?,
            _ => return Err(wrong_subcommand_use(args)),
        };
        if !(1..=PASSWORD_BITS_MAX).contains(&bits) {
            return Err(Error::text(format!(
                "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to \
                 {PASSWORD_BITS_MAX}"
            )));
        }
        let digits = (bits as usize).div_ceil(4);
        let mut password = String::new();
        while password.len() < digits {
            // Hashed, so that a password tells nothing of the numbers to come.
            let words: [[u8; 8]; 4] = core::array::from_fn(|_| self.store.rng.next_u64().to_le_bytes());
            password.push_str(&sha::hex(&sha::sha256(words.as_flattened())));
        }
        session.reply.bulk(&password.as_bytes()[..digits]);
        Ok(())
    }

    fn acl_log_command(&mut self, session: &mut Session, args: Args<'_>) -> CommandResult {
        let count = match args {
            [_, _] => LOG_ENTRIES,
            [_, _, word] if word.eq_ignore_ascii_case(b"reset") => {
                self.acl_log.reset();
                session.reply.ok();
                return Ok(());
            }
            [_, _, count] => parse_int(count)?,
            _ => return Err(wrong_subcommand_use(args)),
        };
        let count = usize::try_from(count).unwrap_or(0).min(self.acl_log.entries().len());
        session.reply.array(count);
        for entry in self.acl_log.entries().take(count) {
            write_log_entry(session, entry, self.now.wall_ms());
        }
        Ok(())
    }
}

/// The error of a command that is denied.
pub(super) fn denied(user: &str, denial: Denial, row: &Row) -> Error {
    match denial.reason {
        Reason::Key => Error::new("NOPERM No permissions to access a key"),
        Reason::Channel => Error::new("NOPERM No permissions to access a channel"),
        Reason::Command | Reason::Auth => Error::text(format!(
            "NOPERM User {user} has no permissions to run the '{}' command",
            row.full_name()
        )),
    }
}

/// The error of a queued command that was allowed once.
pub(super) fn denied_in_exec(denial: Denial) -> Error {
    let reason = match denial.reason {
        Reason::Command => "no permission to execute the command or subcommand",
        Reason::Key => "no permission to touch the specified keys",
        Reason::Channel => "no permission to access one of the channels used as arguments to the command",
        Reason::Auth => "no permission",
    };
    Error::text(format!(
        "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is \
         no longer allowed for the following reason: {reason}"
    ))
}

/// The error of an ACL SAVE that failed.
pub(super) fn not_saved(errno: i32) -> Error {
    tracing::warn!("Saving the users failed: {}", errno_text(errno));
    Error::new(
        "ERR There was an error trying to save the ACLs. Please check the server logs for more information",
    )
}

/// What ACL DRYRUN says: with names, since nothing is given away that an administrator may not know.
fn describe_denial(user: &str, denial: Denial, row: &Row, args: Args<'_>) -> String {
    let object = || printable(args[denial.index]);
    match denial.reason {
        Reason::Key => format!("User {user} has no permissions to access the '{}' key", object()),
        Reason::Channel => format!("User {user} has no permissions to access the '{}' channel", object()),
        Reason::Command | Reason::Auth => {
            format!("User {user} has no permissions to run the '{}' command", row.full_name())
        }
    }
}

fn wrong_subcommand_use(args: Args<'_>) -> Error {
    Error::text(format!(
        "ERR unknown subcommand or wrong number of arguments for '{}'. Try ACL HELP.",
        printable(args[1])
    ))
}

fn write_list(session: &mut Session, items: impl Iterator<Item = String>) {
    let items: Vec<String> = items.collect();
    session.reply.array(items.len());
    for item in items {
        session.reply.bulk(item.as_bytes());
    }
}

fn write_selector(session: &mut Session, selector: &Selector) {
    for (name, rules) in [
        ("commands", selector.describe_commands()),
        ("keys", selector.describe_keys()),
        ("channels", selector.describe_channels()),
    ] {
        session.reply.bulk(name.as_bytes());
        session.reply.bulk(rules.as_bytes());
    }
}

fn write_log_entry(session: &mut Session, entry: &LogEntry, now_ms: u64) {
    let reply = &mut session.reply;
    reply.map(10);
    reply.bulk(b"count");
    reply.integer(entry.count as i64);
    reply.bulk(b"reason");
    reply.bulk(entry.reason.word().as_bytes());
    reply.bulk(b"context");
    reply.bulk(entry.context.word().as_bytes());
    reply.bulk(b"object");
    reply.bulk(&entry.object);
    reply.bulk(b"username");
    reply.bulk(entry.username.as_bytes());
    reply.bulk(b"age-seconds");
    reply.double(now_ms.saturating_sub(entry.updated_ms) as f64 / 1000.0);
    reply.bulk(b"client-info");
    reply.bulk(entry.client_info.as_bytes());
    reply.bulk(b"entry-id");
    reply.integer(entry.id as i64);
    reply.bulk(b"timestamp-created");
    reply.integer(entry.created_ms as i64);
    reply.bulk(b"timestamp-last-updated");
    reply.integer(entry.updated_ms as i64);
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::super::conversation::Conversation;
    use crate::node::testing::TestServer;

    #[test]
    fn a_user_may_do_what_its_rules_say() {
        let mut talk = Conversation::new("");
        let (admin, bob) = (talk.connect(), talk.connect());
        talk.says(admin, "acl setuser bob on >pw +get +publish +multi +exec +acl|whoami ~a");
        assert_eq!(
            talk.says(bob, "auth bob x"),
            "-WRONGPASS invalid username-password pair or user is disabled."
        );
        assert_eq!(talk.says(bob, "auth bob pw"), "+OK");
        assert_eq!(talk.says(bob, "get a"), "$-1");
        assert_eq!(talk.says(bob, "get b"), "-NOPERM No permissions to access a key");
        assert_eq!(talk.says(bob, "set a b"), "-NOPERM User bob has no permissions to run the 'set' command");
        assert_eq!(talk.says(bob, "publish a b"), "-NOPERM No permissions to access a channel");
        assert_eq!(
            talk.says(bob, "acl list"),
            "-NOPERM User bob has no permissions to run the 'acl|list' command"
        );
        assert_eq!(talk.says(bob, "acl whoami"), "$3 bob");
        talk.says(bob, "multi");
        talk.says(bob, "get b");
        assert_eq!(talk.says(bob, "exec"), "-EXECABORT Transaction discarded because of previous errors.");
        // As before AUTH, some commands are for everybody.
        assert_eq!(talk.says(bob, "reset"), "+RESET");
    }

    #[test]
    fn rights_are_asked_again_when_exec_runs() {
        let mut talk = Conversation::new("");
        let (admin, bob) = (talk.connect(), talk.connect());
        talk.says(admin, "acl setuser bob on nopass +@all allkeys");
        talk.says(bob, "auth bob x");
        talk.says(bob, "multi");
        talk.says(bob, "get a");
        talk.says(bob, "get b");
        talk.says(admin, "acl setuser bob resetkeys ~a");
        assert_eq!(
            talk.says(bob, "exec"),
            "*2 $-1 -NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. \
             This command is no longer allowed for the following reason: no permission to touch the specified keys"
        );
    }

    #[test]
    fn a_password_of_the_default_user_closes_the_server() {
        let mut talk = Conversation::new("requirepass secret");
        let client = talk.connect();
        assert_eq!(talk.says(client, "get k"), "-NOAUTH Authentication required.");
        assert!(talk.says(client, "auth wrong").starts_with("-WRONGPASS"));
        assert_eq!(talk.says(client, "auth secret"), "+OK");
        assert_eq!(talk.says(client, "config set requirepass ''"), "+OK");
        assert!(talk.says(client, "auth x").starts_with("-ERR AUTH <password> called without any password"));
        talk.says(client, "acl setuser default resetpass >other");
        let stranger = talk.connect();
        assert!(talk.says(stranger, "hello 3").starts_with("-NOAUTH HELLO must be called"));
        assert!(talk.says(stranger, "hello 3 auth default other").starts_with("%7"));
        talk.says(client, "acl setuser default off");
        let newcomer = talk.connect();
        assert_eq!(talk.says(newcomer, "ping"), "-NOAUTH Authentication required.");
    }

    #[test]
    fn who_loses_its_user_or_channel_is_disconnected() {
        let mut talk = Conversation::new("");
        let (admin, bob, carl) = (talk.connect(), talk.connect(), talk.connect());
        talk.says(admin, "acl setuser bob on nopass +@all &*");
        talk.says(admin, "acl setuser carl on nopass +@all");
        talk.says(bob, "auth bob x");
        talk.says(bob, "subscribe news");
        talk.says(carl, "auth carl x");
        talk.says(admin, "acl setuser bob resetchannels &news");
        assert!(!talk.is_closing(bob));
        talk.says(admin, "acl setuser bob resetchannels &other");
        assert!(talk.is_closing(bob));
        assert_eq!(talk.says(admin, "acl deluser carl default"), "-ERR The 'default' user cannot be removed");
        assert!(!talk.is_closing(carl));
        assert_eq!(talk.says(carl, "acl deluser carl nosuch"), ":1");
        assert!(talk.is_closing(carl));
        assert!(!talk.is_closing(admin));
    }

    #[test]
    fn users_are_shown() {
        let mut talk = Conversation::new("");
        let admin = talk.connect();
        talk.says(admin, "acl setuser bob on nopass +get %R~a &c (+set ~b)");
        assert_eq!(talk.says(admin, "acl users"), "*2 $3 bob $7 default");
        assert_eq!(
            talk.says(admin, "acl getuser bob"),
            "*12 $5 flags *3 $2 on $6 nopass $16 sanitize-payload $9 passwords *0 $8 commands $10 -@all +get $4 keys $4 \
             %R~a $8 channels $2 &c $9 selectors *1 *6 $8 commands $10 -@all +set $4 keys $2 ~b $8 channels $0 "
                .trim_end()
        );
        assert_eq!(talk.says(admin, "acl getuser nosuch"), "$-1");
        assert!(talk.says(admin, "acl list").contains(
            "user bob on nopass sanitize-payload %R~a resetchannels &c -@all +get (~b resetchannels -@all +set)"
        ));
        assert_eq!(
            talk.says(admin, "acl setuser bob nope"),
            "-ERR Error in ACL SETUSER modifier 'nope': Syntax error"
        );
    }

    #[test]
    fn categories_list_their_commands() {
        let mut talk = Conversation::new("");
        let client = talk.connect();
        assert!(talk.says(client, "acl cat").starts_with("*21 $8 keyspace $4 read"));
        assert!(talk.says(client, "acl cat PUBSUB").contains("$15 pubsub|channels"));
        assert_eq!(talk.says(client, "acl cat nosuch"), "-ERR Unknown category 'nosuch'");
        assert_eq!(
            talk.says(client, "acl cat a b"),
            "-ERR unknown subcommand or wrong number of arguments for 'cat'. Try ACL HELP."
        );
        assert!(talk.says(client, "acl help").starts_with("*27 +ACL <subcommand>"));
    }

    #[test]
    fn a_dry_run_names_what_is_missing() {
        let mut talk = Conversation::new("");
        let admin = talk.connect();
        talk.says(admin, "acl setuser bob +get +publish ~a");
        for (tried, reply) in [
            ("nobody get k", "-ERR User 'nobody' not found"),
            ("bob nosuch k", "-ERR Command 'nosuch' not found"),
            ("bob acl nosuch", "-ERR Command 'acl' not found"),
            ("bob get", "-ERR wrong number of arguments for 'get' command"),
            ("bob get a", "+OK"),
            ("bob get k", "$49 User bob has no permissions to access the 'k' key"),
            ("bob set a b", "$52 User bob has no permissions to run the 'set' command"),
            ("bob publish c x", "$53 User bob has no permissions to access the 'c' channel"),
        ] {
            assert_eq!(talk.says(admin, &alloc::format!("acl dryrun {tried}")), reply);
        }
    }

    #[test]
    fn passwords_have_the_length_asked_for() {
        let mut talk = Conversation::new("");
        let client = talk.connect();
        assert!(talk.says(client, "acl genpass").starts_with("$64 "));
        assert!(talk.says(client, "acl genpass 5").starts_with("$2 "));
        assert!(talk.says(client, "acl genpass 4096").starts_with("$1024 "));
        let refused = "-ERR ACL GENPASS argument must be the number of bits for the output password, a positive number \
                       up to 4096";
        assert_eq!(talk.says(client, "acl genpass 0"), refused);
        assert_eq!(talk.says(client, "acl genpass 4097"), refused);
        assert_ne!(talk.says(client, "acl genpass"), talk.says(client, "acl genpass"));
    }

    #[test]
    fn denials_are_logged_and_counted_together() {
        let mut talk = Conversation::new("acllog-max-len 2");
        let (admin, bob) = (talk.connect(), talk.connect());
        talk.says(admin, "acl setuser bob on nopass +get ~a");
        talk.says(bob, "auth bob x");
        talk.says(bob, "get b");
        talk.wait_ms(1_500);
        talk.says(bob, "get b");
        let shown = talk.says(admin, "acl log");
        assert!(
            shown.starts_with(
                "*1 *20 $5 count :2 $6 reason $3 key $7 context $8 toplevel $6 object $1 b $8 username $3 bob $11 \
                 age-seconds $1 0 $11 client-info"
            ),
            "{shown}"
        );
        assert!(
            shown.ends_with(
                "$8 entry-id :0 $17 timestamp-created :1700000000000 $22 timestamp-last-updated :1700000001500"
            ),
            "{shown}"
        );
        talk.wait_ms(61_000);
        talk.says(bob, "get b");
        talk.says(bob, "set b c");
        assert!(talk.says(admin, "acl log").starts_with("*2 *20 $5 count :1 $6 reason $7 command"));
        assert!(talk.says(admin, "acl log 1").starts_with("*1 "));
        assert_eq!(talk.says(admin, "acl log reset"), "+OK");
        assert_eq!(talk.says(admin, "acl log"), "*0");
        talk.says(bob, "auth eve x");
        assert!(
            talk.says(admin, "acl log")
                .contains("$6 reason $4 auth $7 context $8 toplevel $6 object $4 auth $8 username $3 eve")
        );
    }

    #[test]
    fn sort_follows_patterns_only_for_those_who_may_read_all() {
        let mut server = TestServer::new("");
        server.check(&[
            ("RPUSH l 1", ":1"),
            ("ACL SETUSER some on nopass +@all %R~l", "+OK"),
            ("ACL SETUSER all on nopass +@all %R~*", "+OK"),
            ("AUTH some x", "+OK"),
            ("SORT l", "[\"1\"]"),
            ("SORT l BY nosort", "[\"1\"]"),
            ("SORT l BY w_*", "-ERR BY option of SORT denied due to insufficient ACL permissions."),
            ("SORT l GET #", "-ERR GET option of SORT denied due to insufficient ACL permissions."),
            ("AUTH all x", "+OK"),
            ("SORT l BY w_* GET #", "[\"1\"]"),
        ]);
    }

    #[test]
    fn users_are_kept_in_a_file() {
        let mut server = TestServer::new("aclfile /etc/users.acl");
        server.check(&[
            ("ACL SETUSER bob on nopass +get", "+OK"),
            ("ACL SAVE", "+OK"),
            ("ACL DELUSER bob", ":1"),
            ("ACL LOAD", "+OK"),
            ("ACL USERS", "[\"bob\", \"default\"]"),
        ]);
        let text = String::from_utf8(server.disk.files["/etc/users.acl"].clone()).unwrap();
        assert_eq!(
            text,
            "user bob on nopass sanitize-payload resetchannels -@all +get\n\
             user default on nopass sanitize-payload ~* &* +@all\n"
        );
        server.disk.files.insert("/etc/users.acl".into(), b"user bob on +nope\n".to_vec());
        server.check(&[
            (
                "ACL LOAD",
                "-ERR /etc/users.acl:1: Unknown command or category name in ACL. WARNING: ACL errors detected, no \
                 change to the previously active ACL rules was performed",
            ),
            ("ACL USERS", "[\"bob\", \"default\"]"),
        ]);
        server.disk.files.clear();
        server.check(&[(
            "ACL LOAD",
            "-ERR Error loading ACLs, opening file '/etc/users.acl': No such file or directory",
        )]);
        let no_file = "-ERR This Redis instance is not configured to use an ACL file.";
        assert!(TestServer::new("").run("ACL SAVE").starts_with(no_file));
        assert!(TestServer::new("").run("ACL LOAD").starts_with(no_file));
    }

    #[test]
    fn users_can_be_declared() {
        let mut talk = Conversation::new("user alice on nopass +get ~*\nuser default off");
        talk.node.load_users(None).unwrap();
        let client = talk.connect();
        assert_eq!(talk.says(client, "ping"), "-NOAUTH Authentication required.");
        assert_eq!(talk.says(client, "auth alice x"), "+OK");
        assert_eq!(talk.says(client, "get k"), "$-1");
        let mut wrong = Conversation::new("user alice on +nope");
        assert_eq!(
            wrong.node.load_users(None).unwrap_err(),
            "Error in user declaration '+nope': Unknown command or category name in ACL"
        );
        assert!(wrong.node.load_users(Some("user bob on")).unwrap_err().contains("but not both"));
    }
}
