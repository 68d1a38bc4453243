//! Which applications something that a hosting service told of concerns: those of its repository, however its address is written.
//!
//! This decides only who looks again. What they then do follows from what they read themselves.

/// What a hosting service calls a repository.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Named {
    /// Its addresses: for cloning by each protocol, and its page.
    pub urls: Vec<String>,
    /// Its whole path, such as `acme/fleet`.
    pub path: Option<String>,
}

/// Where a repository is: the same for each protocol and user, with and without `.git`.
///
/// Ports are left out, since those of two protocols differ, and so is the case: a look too many is cheap.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Place {
    /// None for a path of this machine.
    host: Option<String>,
    path: String,
}

impl Place {
    fn of(address: &str) -> Self {
        let (authority, path) = match address.split_once("://") {
            Some(("file", path)) => (None, path),
            Some((_, rest)) => {
                let rest = rest.split(['?', '#']).next().unwrap_or_default();
                let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
                (Some(authority), path)
            }
            // `user@host:path`, unless the colon belongs to a path.
            None => match address.split_once(':') {
                Some((authority, path)) if !authority.contains('/') => (Some(authority), path),
                _ => (None, address),
            },
        };
        let host = authority.map(|authority| {
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            let port = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
            port.map_or(host, |(host, _)| host).to_lowercase()
        });
        let path = path.trim_matches('/');
        Self { host, path: path.strip_suffix(".git").unwrap_or(path).to_lowercase() }
    }

    /// Tells whether its path is another one, or ends in it after whole names.
    fn ends_in(&self, path: &str) -> bool {
        self.path.strip_suffix(path).is_some_and(|before| before.is_empty() || before.ends_with('/'))
    }
}

/// Returns which of the repositories at these addresses is named.
///
/// Those at one of its addresses; where none is, those whose path ends in its path, since a service may not know the name that it
/// is reached by here. A repository without any name is all of them: a look too many is cheap.
pub fn concerned<'a>(named: &Named, addresses: impl IntoIterator<Item = (usize, &'a str)>) -> Vec<usize> {
    let places: Vec<(usize, Place)> = addresses.into_iter().map(|(at, url)| (at, Place::of(url))).collect();
    let those = |wanted: &dyn Fn(&Place) -> bool| -> Vec<usize> {
        places.iter().filter(|(_, place)| wanted(place)).map(|(at, _)| *at).collect()
    };
    let path = named.path.as_deref().map(|path| path.trim_matches('/').to_lowercase()).filter(|path| !path.is_empty());
    if named.urls.is_empty() && path.is_none() {
        return those(&|_| true);
    }
    let named: Vec<Place> = named.urls.iter().map(|url| Place::of(url)).collect();
    let exactly = those(&|place| named.contains(place));
    match path {
        Some(path) if exactly.is_empty() => those(&|place| place.ends_in(&path)),
        _ => exactly,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_same_in_every_protocol() {
        let place = Place::of("https://git.example.com/acme/fleet.git");
        for same in [
            "https://git.example.com/acme/fleet",
            "https://user:secret@Git.Example.com:8443/Acme/fleet.git/",
            "ssh://git@git.example.com:2222/acme/fleet.git",
            "git@git.example.com:acme/fleet.git",
            "git.example.com:/acme/fleet",
            "https://git.example.com/acme/fleet?token=x#y",
        ] {
            assert_eq!(Place::of(same), place, "{same}");
        }
        for other in [
            "https://git.example.com/acme/fleet2",
            "https://git.example.org/acme/fleet",
            "https://git.example.com/x/acme/fleet",
            "/acme/fleet.git",
            "file:///acme/fleet.git",
            "https://git.example.com",
            "",
        ] {
            assert_ne!(Place::of(other), place, "{other}");
        }
        assert_eq!(Place::of("/srv/a:b/fleet.git"), Place { host: None, path: "srv/a:b/fleet".to_owned() });
    }

    fn named(urls: &[&str], path: Option<&str>) -> Named {
        Named { urls: urls.iter().map(|url| (*url).to_owned()).collect(), path: path.map(str::to_owned) }
    }

    #[test]
    fn only_the_repository_that_is_named_is_concerned() {
        let all = [
            (0, "https://github.com/acme/fleet.git"),
            (1, "git@github.com:acme/fleet.git"),
            (2, "https://github.com/acme/other"),
            (3, "https://gitlab.com/acme/fleet"),
            (4, "/srv/git/acme/fleet.git"),
            (7, "https://github.com/acme/big-fleet"),
        ];
        let at = |named: &Named| concerned(named, all);
        let fleet = ["https://github.com/acme/fleet.git", "git@github.com:acme/fleet.git"];
        assert_eq!(at(&named(&fleet, Some("acme/fleet"))), [0, 1]);
        assert_eq!(at(&named(&["https://github.com/acme/other"], None)), [2]);
        // Known by another name there than here.
        assert_eq!(at(&named(&["http://gitea.internal:3000/acme/fleet"], Some("acme/fleet"))), [0, 1, 3, 4]);
        assert_eq!(at(&named(&["http://gitea.internal:3000/fleet"], Some("fleet"))), [0, 1, 3, 4]);
        assert_eq!(at(&named(&["https://github.com/acme/none"], Some("acme/none"))), Vec::<usize>::new());
        assert_eq!(at(&named(&["https://github.com/acme/none"], None)), Vec::<usize>::new());
        // Nothing is named.
        assert_eq!(at(&named(&[], None)), [0, 1, 2, 3, 4, 7]);
        assert_eq!(at(&named(&[], Some("/"))), [0, 1, 2, 3, 4, 7]);
    }
}
