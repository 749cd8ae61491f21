/// The OpenAPI 3.1 document of this API, as JSON.
pub fn openapi() -> String {
    todo!("api")
}
