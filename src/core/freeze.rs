//! placeholder
use serde::{Deserialize, Serialize};
/// placeholder
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct FreezeState {}
