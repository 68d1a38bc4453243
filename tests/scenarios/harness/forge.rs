//! What a hosting service does with pull requests, made by git as Gitea and GitHub make it: heads under names of their own, and
//! merges, squashes and rebases that nobody signs.

use super::World;
use super::keys::address;

impl World {
    /// Makes a world at its baseline, whose hosting service may merge what verifies.
    pub fn with_service_merges() -> Self {
        let mut world = Self::new();
        world.app("web").trust("serviceMerges: true");
        world.repo.fill("", 0..12);
        world.baseline();
        world
    }

    /// Makes commits on a branch that starts at `main`, keeps them as the head of a pull request, and goes back to `main`.
    #[track_caller]
    pub fn propose(&self, number: u64, make: impl FnOnce(&Self)) -> String {
        let branch = format!("feature-{number}");
        self.repo.git(&["checkout", "-q", "-B", &branch, "main"]);
        make(self);
        let head = self.keep_head(number);
        self.repo.git(&["checkout", "-q", "main"]);
        head
    }

    /// Keeps what is checked out as the head of a pull request, and forgets what was kept before.
    #[track_caller]
    pub fn keep_head(&self, number: u64) -> String {
        self.repo.git(&["push", "-q", "--force", "origin", &format!("HEAD:refs/pull/{number}/head")]);
        self.repo.head()
    }

    /// Runs git as the hosting service, which signs nothing.
    #[track_caller]
    pub fn service(&self, arguments: &[&str]) -> String {
        let mail = format!("user.email={}", address("forge"));
        self.repo.git(&[&["-c", "user.name=forge", "-c", &mail], arguments].concat())
    }

    /// Merges a branch with a merge commit, without pushing it.
    #[track_caller]
    pub fn service_merge(&self, number: u64) -> String {
        let message = format!("Merge pull request 'Change' (#{number}) from feature-{number} into main");
        self.service(&["merge", "-q", "--no-ff", "-m", &message, &format!("feature-{number}")]);
        self.repo.head()
    }

    /// Squashes a branch into one commit, without pushing it.
    #[track_caller]
    pub fn service_squash(&self, number: u64) -> String {
        self.service(&["merge", "-q", "--squash", &format!("feature-{number}")]);
        self.service_commit(&format!("Change (#{number})"))
    }

    /// Commits what is there, without pushing it.
    #[track_caller]
    pub fn service_commit(&self, message: &str) -> String {
        self.repo.git(&["add", "-A"]);
        self.service(&["commit", "-q", "--allow-empty", "-m", message]);
        self.repo.head()
    }

    /// Makes a branch's commits anew on top of `main`, and leaves them checked out.
    #[track_caller]
    pub fn service_rebase(&self, number: u64) {
        self.repo.git(&["checkout", "-q", "-B", "rebased", &format!("feature-{number}")]);
        self.service(&["rebase", "-q", "--force-rebase", "main"]);
    }

    /// Moves `main` on to what is checked out.
    #[track_caller]
    pub fn fast_forward(&self) {
        self.repo.git(&["checkout", "-q", "-B", "main"]);
    }
}
