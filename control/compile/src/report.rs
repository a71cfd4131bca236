//! What is wrong with the documents, gathered while compiling.

use weir_model::Problem;

#[derive(Default)]
pub(crate) struct Report {
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
}
