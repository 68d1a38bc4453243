//! The directory target's own rules: which files are protected, and which are access control (`GUARDS.md` 6 and 8).
//!
//! Rules match any run of path components, because a root may be `/`, `/etc`, or a copy of either further down.

/// One rule: patterns of consecutive components, where `*` at the end of a pattern matches the rest of a component.
struct Rule {
    components: &'static [&'static str],
    /// Whether everything below is meant too.
    below: bool,
    protected: bool,
    access_control: bool,
}

const fn rule(components: &'static [&'static str], below: bool, protected: bool, access_control: bool) -> Rule {
    Rule { components, below, protected, access_control }
}

/// `protected` is the list of `GUARDS.md` 8; access control is that which decides who may enter and do what.
const RULES: &[Rule] = &[
    rule(&["passwd"], false, true, true),
    rule(&["shadow"], false, true, true),
    rule(&["group"], false, true, true),
    rule(&["gshadow"], false, false, true),
    rule(&["subuid"], false, false, true),
    rule(&["subgid"], false, false, true),
    rule(&["sudoers*"], true, true, true),
    rule(&["doas.conf"], false, false, true),
    rule(&["ssh"], true, true, true),
    rule(&[".ssh"], true, false, true),
    rule(&["authorized_keys*"], false, false, true),
    rule(&["pam.d"], true, true, true),
    rule(&["pam.conf"], false, false, true),
    rule(&["fstab"], false, true, false),
    rule(&["polkit-1"], true, false, true),
    rule(&["security", "access.conf"], false, false, true),
    rule(&["securetty"], false, false, true),
    rule(&["hosts.allow"], false, false, true),
    rule(&["hosts.deny"], false, false, true),
    rule(&["krb5.conf"], false, false, true),
    rule(&["krb5.keytab"], false, false, true),
    rule(&["sssd"], true, false, true),
    rule(&["nsswitch.conf"], false, false, true),
    rule(&["apparmor.d"], true, false, true),
    rule(&["selinux"], true, false, true),
    rule(&["login.defs"], false, false, true),
    rule(&[".htpasswd"], false, false, true),
    rule(&[".htaccess"], false, false, true),
];

/// Tells whether a file is never deleted or replaced without an approval (`GUARDS.md` 8, `protected`).
pub fn is_protected(path: &str) -> bool {
    RULES.iter().any(|rule| rule.protected && rule.matches(path))
}

/// Tells whether drift of a file is classed as tampering (`GUARDS.md` 6).
pub fn is_access_control(path: &str) -> bool {
    RULES.iter().any(|rule| rule.access_control && rule.matches(path))
}

impl Rule {
    fn matches(&self, path: &str) -> bool {
        let components: Vec<&str> = path.split('/').collect();
        components.windows(self.components.len()).enumerate().any(|(at, window)| {
            let ends = at + self.components.len() == components.len();
            (ends || self.below) && window.iter().zip(self.components).all(|(name, pattern)| fits(name, pattern))
        })
    }
}

fn fits(name: &str, pattern: &str) -> bool {
    pattern.strip_suffix('*').map_or(name == pattern, |start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_protected_files_is_met_wherever_the_root_is() {
        for path in [
            "passwd",
            "etc/shadow",
            "group",
            "sudoers",
            "etc/sudoers.d/ops",
            "sudoers.d/a/b",
            "sudoers.rpmnew",
            "ssh/sshd_config",
            "etc/ssh/sshd_config.d/10.conf",
            "pam.d/sshd",
            "etc/fstab",
            "ssh",
        ] {
            assert!(is_protected(path), "{path}");
        }
        for path in [
            "nginx/nginx.conf",
            "passwd.d/x",
            "passwords",
            "openssh/x",
            "group/vars.yml",
            "fstab.d/x",
            "my-sudoers",
            ".ssh/id",
        ] {
            assert!(!is_protected(path), "{path}");
        }
    }

    #[test]
    fn access_control_is_more_than_what_is_protected() {
        for path in [
            "sudoers.d/ops",
            "pam.d/login",
            "passwd",
            "polkit-1/rules.d/10.rules",
            "root/.ssh/authorized_keys",
            "ssh/sshd_config",
        ] {
            assert!(is_access_control(path), "{path}");
        }
        for path in ["fstab", "nginx/nginx.conf", "motd"] {
            assert!(!is_access_control(path), "{path}");
        }
    }
}
