use http::StatusCode;

/// The codes; a row makes the variant, its text in answers and its status.
macro_rules! codes {
    ($($variant:ident $name:literal $status:ident;)*) => {
        /// Why a request is refused: stable, part of the contract, explained in docs/errors.md.
        /// Those of uploads are [`certward_pki::Code`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum RefusalCode {
            $($variant,)*
        }

        impl RefusalCode {
            pub(crate) const ALL: &[Self] = &[$(Self::$variant),*];

            /// The text in answers.
            pub(crate) const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            pub(crate) const fn status(self) -> StatusCode {
                match self {
                    $(Self::$variant => StatusCode::$status,)*
                }
            }
        }
    };
}

codes! {
    BadRequest "BAD_REQUEST" BAD_REQUEST;
    InvalidJson "INVALID_JSON" BAD_REQUEST;
    Unauthorized "UNAUTHORIZED" UNAUTHORIZED;
    NoAccess "NO_ACCESS" FORBIDDEN;
    DeploymentNotFound "DEPLOYMENT_NOT_FOUND" NOT_FOUND;
    TlsNotFound "TLS_NOT_FOUND" NOT_FOUND;
    VersionNotFound "VERSION_NOT_FOUND" NOT_FOUND;
    ClientCaNotFound "CLIENT_CA_NOT_FOUND" NOT_FOUND;
    RevocationNotFound "REVOCATION_NOT_FOUND" NOT_FOUND;
    CrlNotFound "CRL_NOT_FOUND" NOT_FOUND;
    NotFound "NOT_FOUND" NOT_FOUND;
    MethodNotAllowed "METHOD_NOT_ALLOWED" METHOD_NOT_ALLOWED;
    RequestTimeout "REQUEST_TIMEOUT" REQUEST_TIMEOUT;
    DeploymentChanged "DEPLOYMENT_CHANGED" CONFLICT;
    DeploymentExists "DEPLOYMENT_EXISTS" CONFLICT;
    DeploymentQuota "DEPLOYMENT_QUOTA" CONFLICT;
    HostSuffixInUse "HOST_SUFFIX_IN_USE" CONFLICT;
    ProjectExists "PROJECT_EXISTS" CONFLICT;
    ProjectNotEmpty "PROJECT_NOT_EMPTY" CONFLICT;
    ProjectDefault "PROJECT_DEFAULT" CONFLICT;
    ChannelQuota "CHANNEL_QUOTA" CONFLICT;
    RevocationQuota "REVOCATION_QUOTA" CONFLICT;
    CrlQuota "CRL_QUOTA" CONFLICT;
    CrlStale "CRL_STALE_IN_SERVICE" CONFLICT;
    LastAdminKey "LAST_ADMIN_KEY" CONFLICT;
    VersionInService "VERSION_IN_SERVICE" CONFLICT;
    BodyTooLarge "BODY_TOO_LARGE" PAYLOAD_TOO_LARGE;
    UriTooLong "URI_TOO_LONG" URI_TOO_LONG;
    UnsupportedMediaType "UNSUPPORTED_MEDIA_TYPE" UNSUPPORTED_MEDIA_TYPE;
    HostNotLoopback "HOST_NOT_LOOPBACK" MISDIRECTED_REQUEST;
    TlsAlreadyExists "TLS_ALREADY_EXISTS" UNPROCESSABLE_ENTITY;
    VersionErased "VERSION_ERASED" UNPROCESSABLE_ENTITY;
    VersionInvalid "VERSION_INVALID" UNPROCESSABLE_ENTITY;
    NotTwoWay "NOT_TWO_WAY" UNPROCESSABLE_ENTITY;
    ClientCaLast "CLIENT_CA_LAST" UNPROCESSABLE_ENTITY;
    ImpactSevere "IMPACT_SEVERE" UNPROCESSABLE_ENTITY;
    DeploymentIdInvalid "DEPLOYMENT_ID_INVALID" UNPROCESSABLE_ENTITY;
    ProjectIdInvalid "PROJECT_ID_INVALID" UNPROCESSABLE_ENTITY;
    ProjectUnknown "PROJECT_UNKNOWN" UNPROCESSABLE_ENTITY;
    TextInvalid "TEXT_INVALID" UNPROCESSABLE_ENTITY;
    QueryInvalid "QUERY_INVALID" UNPROCESSABLE_ENTITY;
    RevocationInvalid "REVOCATION_INVALID" UNPROCESSABLE_ENTITY;
    FingerprintUnknown "FINGERPRINT_UNKNOWN" UNPROCESSABLE_ENTITY;
    CrlIdInvalid "CRL_ID_INVALID" UNPROCESSABLE_ENTITY;
    CrlUrlInvalid "CRL_URL_INVALID" UNPROCESSABLE_ENTITY;
    CrlAllowEmpty "CRL_ALLOW_EMPTY" UNPROCESSABLE_ENTITY;
    StalePolicyInvalid "STALE_POLICY_INVALID" UNPROCESSABLE_ENTITY;
    CloseRateInvalid "CLOSE_RATE_INVALID" UNPROCESSABLE_ENTITY;
    QueryUnexpected "QUERY_UNEXPECTED" UNPROCESSABLE_ENTITY;
    ChannelTypeInvalid "CHANNEL_TYPE_INVALID" UNPROCESSABLE_ENTITY;
    WebhookUrlInvalid "WEBHOOK_URL_INVALID" UNPROCESSABLE_ENTITY;
    WebhookSecretInvalid "WEBHOOK_SECRET_INVALID" UNPROCESSABLE_ENTITY;
    MailServerInvalid "MAIL_SERVER_INVALID" UNPROCESSABLE_ENTITY;
    MailAddressInvalid "MAIL_ADDRESS_INVALID" UNPROCESSABLE_ENTITY;
    AlertAllowEmpty "ALERT_ALLOW_EMPTY" UNPROCESSABLE_ENTITY;
    TimeInvalid "TIME_INVALID" UNPROCESSABLE_ENTITY;
    UpstreamInvalid "UPSTREAM_INVALID" UNPROCESSABLE_ENTITY;
    HostInvalid "HOST_INVALID" UNPROCESSABLE_ENTITY;
    HostTaken "HOST_TAKEN" UNPROCESSABLE_ENTITY;
    UpstreamTaken "UPSTREAM_TAKEN" UNPROCESSABLE_ENTITY;
    UpstreamNotAllowed "UPSTREAM_NOT_ALLOWED" UNPROCESSABLE_ENTITY;
    UpstreamShared "UPSTREAM_SHARED" UNPROCESSABLE_ENTITY;
    HostNotAllowed "HOST_NOT_ALLOWED" UNPROCESSABLE_ENTITY;
    HostPublicSuffix "HOST_PUBLIC_SUFFIX" UNPROCESSABLE_ENTITY;
    UpstreamAllowInvalid "UPSTREAM_ALLOW_INVALID" UNPROCESSABLE_ENTITY;
    HostSuffixInvalid "HOST_SUFFIX_INVALID" UNPROCESSABLE_ENTITY;
    HostSuffixTaken "HOST_SUFFIX_TAKEN" UNPROCESSABLE_ENTITY;
    ProxyInvalid "PROXY_INVALID" UNPROCESSABLE_ENTITY;
    LimitInvalid "LIMIT_INVALID" UNPROCESSABLE_ENTITY;
    RecordBytesInvalid "RECORD_BYTES_INVALID" UNPROCESSABLE_ENTITY;
    SessionAgeInvalid "SESSION_AGE_INVALID" UNPROCESSABLE_ENTITY;
    ProfileInvalid "PROFILE_INVALID" UNPROCESSABLE_ENTITY;
    ScopeInvalid "SCOPE_INVALID" UNPROCESSABLE_ENTITY;
    RateLimited "RATE_LIMITED" TOO_MANY_REQUESTS;
    HeadersTooLarge "HEADERS_TOO_LARGE" REQUEST_HEADER_FIELDS_TOO_LARGE;
    Internal "INTERNAL" INTERNAL_SERVER_ERROR;
    StoreUnavailable "STORE_UNAVAILABLE" SERVICE_UNAVAILABLE;
}
