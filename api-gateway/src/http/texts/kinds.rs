//! Every kind of problem that a caller may be answered with. Each has a page at `/problems/{name}`,
//! which is what the `type` of a problem points to, and a response in the OpenAPI document.

use super::{Words, words};

/// The original's code and message of an error.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct SeedCode(pub(in crate::http) u16, pub(in crate::http) Words);

/// A kind of problem.
#[derive(Debug)]
pub(in crate::http) struct ProblemKind {
    /// The last part of its `type`: `kebab-case`, and stable.
    pub(in crate::http) name: &'static str,
    pub(in crate::http) status: u16,
    pub(in crate::http) code: SeedCode,
    /// The same for all problems of the kind.
    pub(in crate::http) title: Words,
    pub(in crate::http) happened: Words,
    pub(in crate::http) to_do: Words,
    /// The headers that come with it, beside those that come with every problem.
    pub(in crate::http) headers: &'static [&'static str],
}

/// Defines each, and the list of all of them.
macro_rules! kinds {
    ($($constant:ident: $kind:expr;)*) => {
        $(pub(in crate::http) static $constant: ProblemKind = $kind;)*
        pub(in crate::http) static ALL: &[&ProblemKind] = &[$(&$constant),*];
    };
}

const FORBIDDEN_CODE: SeedCode = SeedCode(403, words("您没有访问权限！", "You may not do this!"));
const FAILED_CODE: SeedCode = SeedCode(
    1001,
    words("消息处理失败！", "The message could not be handled!"),
);
pub(super) const BUSY_CODE: SeedCode = SeedCode(1002, words("系统繁忙!", "The system is busy!"));
const INVALID_CODE: SeedCode = SeedCode(1003, words("无效的参数！", "A parameter is invalid!"));
const NOT_FOUND_CODE: SeedCode = SeedCode(1007, words("查询失败", "Not found"));

kinds! {
    INVALID: ProblemKind {
        name: "invalid-parameter",
        status: 400,
        code: INVALID_CODE,
        title: words("请求的参数无效", "The request has invalid parameters"),
        happened: words(
            "请求中有错误，什么都没有执行。`errors` 逐个列出有问题的字段；整个请求体的错误记在字段 `(body)` 下。",
            "Something is wrong with the request, and nothing was done. `errors` names each wrong field; \
             a fault of the body as a whole is the field `(body)`.",
        ),
        to_do: words(
            "按照 `errors` 里每个字段的 `detail` 改正，再重新发送。",
            "Correct each field as its `detail` in `errors` says, and send the request again.",
        ),
        headers: &[],
    };
    UNAUTHORIZED: ProblemKind {
        name: "unauthorized",
        status: 401,
        code: FORBIDDEN_CODE,
        title: words("不知道调用者是谁", "It is not known who calls"),
        happened: words(
            "网关启用了身份验证，而令牌缺失或无效；`WWW-Authenticate` 说明是哪一种。",
            "Authentication is set up, and the token is missing or bad; `WWW-Authenticate` says which.",
        ),
        to_do: words(
            "发送 `Authorization: Bearer <JWT>`，令牌须未过期、由网关认识的密钥签名，并带有 `sub` 和 `exp`。",
            "Send `Authorization: Bearer <JWT>` with a token that is not over, is signed with a key that \
             the gateway knows, and has `sub` and `exp`.",
        ),
        headers: &["WWW-Authenticate"],
    };
    FORBIDDEN: ProblemKind {
        name: "forbidden",
        status: 403,
        code: FORBIDDEN_CODE,
        title: words("调用者无权这样做", "The caller may not do this"),
        happened: words(
            "请求涉及另一个用户，或者涉及只有操作员可见的数据；什么都没有执行。",
            "The request is about another user, or about what only operators may see; nothing was done.",
        ),
        to_do: words(
            "调用者只能代表自己，即令牌的 `sub`。要代表其他用户，令牌的 `scope` 须包含 `operator`。",
            "A caller acts for itself alone, the `sub` of its token. For other users the token's `scope` \
             must hold `operator`.",
        ),
        headers: &["WWW-Authenticate"],
    };
    NOT_FOUND: ProblemKind {
        name: "not-found",
        status: 404,
        code: NOT_FOUND_CODE,
        title: words("没有这个对象", "No such object"),
        happened: words(
            "没有这个 id 的对象，或者它已被删除。",
            "There is no object with this id, or it is deleted.",
        ),
        to_do: words(
            "检查 id；`GET /userTicket/list` 和 `GET /regist/list` 列出现有的对象。",
            "Check the id; `GET /userTicket/list` and `GET /regist/list` show what there is.",
        ),
        headers: &[],
    };
    SAGA_NOT_FOUND: ProblemKind {
        name: "saga-not-found",
        status: 404,
        code: NOT_FOUND_CODE,
        title: words("没有这个流程", "No such saga"),
        happened: words(
            "没有已知的这个流程。另一个网关刚刚接受的流程，片刻之后才会出现。",
            "No such saga is known. One that another gateway has just accepted shows in a moment.",
        ),
        to_do: words(
            "检查 id；如果请求刚刚发出，请稍后再问。`GET /sagas` 列出各个流程。",
            "Check the id; if the request was sent only just now, ask again in a moment. `GET /sagas` \
             lists sagas.",
        ),
        headers: &[],
    };
    ROUTE_NOT_FOUND: ProblemKind {
        name: "route-not-found",
        status: 404,
        code: NOT_FOUND_CODE,
        title: words("没有这个路由", "No such route"),
        happened: words("没有这个路由。", "There is no such route."),
        to_do: words(
            "检查路径；`GET /docs` 列出所有路由。",
            "Check the path; `GET /docs` shows all routes.",
        ),
        headers: &[],
    };
    METHOD_NOT_ALLOWED: ProblemKind {
        name: "method-not-allowed",
        status: 405,
        code: INVALID_CODE,
        title: words("该路由使用其他方法", "The route has other methods"),
        happened: words(
            "有这个路由，但它不支持这个方法。",
            "There is this route, but not with this method.",
        ),
        to_do: words(
            "使用 `Allow` 列出的方法之一。",
            "Use one of the methods that `Allow` lists.",
        ),
        headers: &["Allow"],
    };
    BODY_TOO_SLOW: ProblemKind {
        name: "body-too-slow",
        status: 408,
        code: INVALID_CODE,
        title: words("请求体传输太慢", "The body took too long"),
        happened: words(
            "请求体没有在期限内到齐；什么都没有执行，连接已关闭。",
            "The body did not arrive in time; nothing was done, and the connection is closed.",
        ),
        to_do: words(
            "重新发送请求；`Content-Length` 须与实际发送的内容一致。",
            "Send the request again; `Content-Length` must be what is really sent.",
        ),
        headers: &[],
    };
    REFUSED: ProblemKind {
        name: "refused",
        status: 409,
        code: FAILED_CODE,
        title: words("流程被拒绝", "The saga was refused"),
        happened: words(
            "某个步骤拒绝了请求，之前做过的都已撤销。`reason` 是给程序看的原因，`message` 和 `detail` 给人看，\
             `sagaId` 指明流程。",
            "A step refused, and what was done before is undone. `reason` says why, for programs; \
             `message` and `detail` for people; `sagaId` names the saga.",
        ),
        to_do: words(
            "按照 `reason` 处理；`GET /sagas/{sagaId}` 说明发生了什么。",
            "Act on the `reason`; `GET /sagas/{sagaId}` tells what happened.",
        ),
        headers: &[],
    };
    BODY_TOO_LARGE: ProblemKind {
        name: "body-too-large",
        status: 413,
        code: INVALID_CODE,
        title: words("请求体太大", "The body is too large"),
        happened: words(
            "请求体超过 16384 字节；什么都没有执行。",
            "The body has more than 16384 bytes; nothing was done.",
        ),
        to_do: words(
            "只发送需要的字段；`ids` 一次最多 100 个。",
            "Send the fields that are needed and no others; at most 100 `ids` at a time.",
        ),
        headers: &[],
    };
    KEY_REUSED: ProblemKind {
        name: "idempotency-key-reused",
        status: 422,
        code: INVALID_CODE,
        title: words(
            "Idempotency-Key 属于另一个请求",
            "The Idempotency-Key belongs to another request",
        ),
        happened: words(
            "这个 Idempotency-Key 曾用于另一个字段不同的请求。",
            "The Idempotency-Key was used for a request with other fields.",
        ),
        to_do: words(
            "新的请求请使用新的键；要重发旧的请求，请发送与当时相同的字段。",
            "Take a new key for a new request; to repeat the old one, send the fields that it had.",
        ),
        headers: &[],
    };
    TOO_MANY: ProblemKind {
        name: "too-many-requests",
        status: 429,
        code: BUSY_CODE,
        title: words("调用者一次要求太多", "The caller asks for too much at a time"),
        happened: words(
            "这个调用者的请求太频繁，或同时等待的太多；什么都没有执行。",
            "The caller sends too much, or waits for too much at a time; nothing was done.",
        ),
        to_do: words(
            "等待 `Retry-After` 所说的秒数，再重新发送。",
            "Wait as many seconds as `Retry-After` says, and send the request again.",
        ),
        headers: &["Retry-After"],
    };
    SAGA_UNREADABLE: ProblemKind {
        name: "saga-unreadable",
        status: 500,
        code: FAILED_CODE,
        title: words("流程的记录无法读取", "The record of the saga cannot be read"),
        happened: words(
            "流程的记录已损坏，或由更新的版本写入。",
            "The record of the saga is damaged, or of a later build.",
        ),
        to_do: words(
            "重试没有用：需要操作员升级网关，或修复、删除这条记录。",
            "Asking again does not help: an operator has to upgrade the gateway, or repair or delete \
             the record.",
        ),
        headers: &[],
    };
    UNAVAILABLE: ProblemKind {
        name: "unavailable",
        status: 503,
        code: BUSY_CODE,
        title: words("系统现在做不到", "The system cannot do this now"),
        happened: words(
            "消息代理、数据库或验证调用者的密钥不可用，或者等待的请求已经太多。有 `sagaId` 时，命令可能已被接受，也可能没有；\
             没有 `sagaId` 时，什么都没有执行。",
            "The broker, a database or the keys to know callers by are away, or too many wait already. \
             With a `sagaId`, the command may or may not have been accepted; without one, nothing was done.",
        ),
        to_do: words(
            "等待 `Retry-After` 所说的秒数；有 `sagaId` 时按 `detail` 说的做，否则重新发送请求。",
            "Wait as many seconds as `Retry-After` says. With a `sagaId`, do what `detail` says; without \
             one, send the request again.",
        ),
        headers: &["Retry-After"],
    };
    NO_ANSWER: ProblemKind {
        name: "no-answer",
        status: 504,
        code: BUSY_CODE,
        title: words("数据的所有者没有回答", "The owner of the data does not answer"),
        happened: words(
            "拥有数据的服务没有及时回答；什么都没有执行。",
            "The service that owns the data does not answer in time; nothing was done.",
        ),
        to_do: words("再问一次。", "Ask again."),
        headers: &[],
    };
}
