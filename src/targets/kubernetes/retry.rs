//! Asks again what only reads, where the server says or shows that it is for a moment; writes are never sent twice here.

use std::time::Duration;

use super::client::{Answer, Client, Lost, Request};

/// How often something is asked at most.
const TRIES: u32 = 4;

/// How long after the first time nothing is asked again: a server that hangs would hold up a cycle for minutes, and the
/// next cycle asks anyway.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long is waited at first; doubled each time.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// However long the server asks for: a cycle has more to look at.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Sends a request that changes nothing, again while the server cannot answer for now.
pub(super) async fn read(client: &Client, request: &Request<'_>) -> Result<Answer, Lost> {
    let begun = tokio::time::Instant::now();
    let mut tried = 0;
    loop {
        let answer = client.send(request).await;
        tried += 1;
        let again = match &answer {
            Ok(answer) => passes(answer),
            Err(_) => true,
        };
        if !again || tried == TRIES || begun.elapsed() >= PATIENCE {
            return answer;
        }
        let asked = answer.as_ref().ok().and_then(|answer| answer.retry_after);
        tokio::time::sleep(asked.unwrap_or(FIRST_WAIT * 2_u32.pow(tried - 1)).min(LONGEST_WAIT)).await;
    }
}

/// Tells whether a failure is one of the moment.
fn passes(answer: &Answer) -> bool {
    match answer.code {
        // Also what the server says of an object that it cannot understand, which stays so.
        500 => answer.status().meaning() == super::status::Meaning::Failing,
        401 | 429 | 502..=504 => true,
        _ => false,
    }
}
