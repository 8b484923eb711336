//! What is said of one request in particular: what is wrong with it, and what to do.

use super::{Language, Say, Text, Words, texts, words};
use crate::auth::token::BadToken;

/// Fixed texts, and the list of all of them.
macro_rules! phrases {
    ($($(#[$about:meta])* $name:ident: $chinese:literal, $english:literal;)*) => {
        $($(#[$about])* pub(in crate::http) const $name: Words = words($chinese, $english);)*
        #[cfg(test)]
        pub(super) const PHRASES: &[Words] = &[$($name),*];
    };
}

phrases! {
    // What a value must be, to go on after "must be".
    WHOLE_NUMBER:
        "从 0 到 18446744073709551615 的整数，写成 JSON 数字或由数字组成的字符串",
        "a whole number from 0 to 18446744073709551615, as a JSON number or a string of digits";
    UUID:
        "一个 UUID，例如 \"0193a4f0-6c1b-7d3e-9f00-5a6b7c8d9e0f\"",
        "a UUID, as \"0193a4f0-6c1b-7d3e-9f00-5a6b7c8d9e0f\"";
    UUIDS: "由 1 到 100 个 UUID 组成的列表", "a list of 1 to 100 UUIDs";
    ANY_TEXT: "一段文字", "a text";
    ANY_WHOLE_NUMBER: "一个整数", "a whole number";
    CURSOR: "某一页的 `next`，原样不变", "the `next` of a page, unchanged";
    SAGA_ID: "某个流程的 UUID", "the UUID of a saga";

    TRUE_OR_FALSE: "true 或 false 之一", "true or false";

    // The same, of dead letters.
    QUEUE_NAME:
        "队列的名称，例如 \"ticket-worker.PurchaseAndRegister\"",
        "the name of a queue, as \"ticket-worker.PurchaseAndRegister\"";
    CAUSE_KEY: "某一组的 `cause`，例如 \"2a04bfac\"", "the `cause` of a group, as \"2a04bfac\"";
    MESSAGE_IDS: "由 1 到 100 个消息 id 组成的列表", "a list of 1 to 100 ids of messages";
    REASON_TEXT: "1 到 1000 个字符的文字", "a text of 1 to 1000 characters";
    RAMP:
        "由 1 到 16 个从 1 到 1000 的整数组成的列表，例如 [1, 10, 100]",
        "a list of 1 to 16 whole numbers from 1 to 1000, as [1, 10, 100]";
    WATCH_SECONDS: "从 0 到 86400 的整数秒数", "a whole number of seconds from 0 to 86400";
    NAMES_NO_MESSAGES:
        "没有指明任何消息：请发送 ids、cause、queue 或 sagaId，或者 \"all\": true",
        "names no messages: send ids, cause, queue or sagaId, or \"all\": true";
    NO_STEPS_TO_WATCH:
        "没有可以观察的步骤；请不要同时发送 ramp 和 watchSeconds",
        "leaves no steps to watch; send it without ramp and watchSeconds";

    // Of bodies and headers.
    IS_EMPTY: "是空的", "is empty";
    KEY_GIVEN_TWICE: "给了不止一次；请只发送一次", "is given more than once; send it once";
    KEY_IS_NONE:
        "必须是 1 到 255 个可见的 ASCII 字符，最好是 UUID，可以带引号",
        "must be 1 to 255 visible ASCII characters, best a UUID, bare or in quotes";
    KEY_REUSED:
        "之前有一个字段不同的请求用过这个 Idempotency-Key；新的请求请使用新的键",
        "a request with other fields was sent with this Idempotency-Key before; use a new key for a \
         new request";

    FROM_A_FOREIGN_PAGE:
        "是另一个网站的；没有身份验证的网关不接受网页从那里发来的更改",
        "is of another site; a gateway without authentication takes no changes that a page there sends";

    // Objects, to go on after "no".
    TICKET: "票", "ticket";
    REGISTRATION: "报名", "registration";
    NO_SUCH_OBJECT:
        "没有这个 id 的对象，或者它已被删除",
        "there is no object with this id, or it is deleted";
    LEDGER_AWAY:
        "现在无法读取流程的记录；请再问一次",
        "the ledger cannot be read now; ask again";

    // Why a saga is not started, or not known to be.
    REFUSED_WITHOUT_REASON:
        "某个步骤拒绝了请求，但没有说明原因",
        "a step refused and gave no reason";
    TOO_MANY_WAIT:
        "等待的调用者已经太多；什么都没有开始",
        "too many callers wait already; nothing was started";
    CALLER_WAITS_FOR_TOO_MANY:
        "这个调用者等待的流程已达上限；什么都没有开始",
        "the caller waits for as many sagas as it may already; nothing was started";
    NOT_LISTENING:
        "消息代理还不能送达回答；什么都没有开始",
        "the broker does not deliver answers yet; nothing was started";
    NOT_IN_TIME:
        "消息代理没有及时确认命令",
        "the broker did not confirm the command in time";
    SEND_AGAIN_WITH_KEY:
        "命令可能已被接受，也可能没有：请用相同的 Idempotency-Key 重新发送请求",
        "It may or may not have been accepted: send the request again with the same Idempotency-Key";

    // On the pages about problems.
    PAGE_PROBLEMS: "问题", "Problems";
    PAGE_HAPPENED: "发生了什么", "What happened";
    PAGE_TO_DO: "怎么办", "What to do";
    PAGE_EXAMPLE: "示例", "Example";

    // Who may do what.
    FOREIGN:
        "调用者只能代表其令牌的 `sub` 所指的用户；要代表其他用户，令牌的 `scope` 须包含 operator",
        "a caller acts for the user that is the `sub` of its token; for other users its `scope` must \
         hold operator";
    NO_TOKEN:
        "请发送令牌：`Authorization: Bearer <JWT>`",
        "send a token: `Authorization: Bearer <JWT>`";
    NO_KEYS_YET:
        "签名令牌的密钥现在还无法读取；请重新发送请求",
        "the keys that sign tokens cannot be read yet; send the request again";
    TOKEN_MALFORMED:
        "令牌不是用 RS256、EdDSA 或 HS256 签名的 JWT",
        "the token is no JWT that is signed with RS256, EdDSA or HS256";
    TOKEN_OF_UNKNOWN_KEY:
        "签名令牌的密钥在这里不被认识",
        "the token is signed with a key that is not known here";
    TOKEN_SIGNATURE: "令牌的签名不符", "the signature of the token does not fit";
    TOKEN_EXPIRED: "令牌已过期", "the token has expired";
    TOKEN_TOO_EARLY: "令牌尚未生效", "the token is not valid yet";
    TOKEN_AUDIENCE: "令牌是给另一个受众的", "the token is for another audience";
    TOKEN_ISSUER: "令牌由另一个签发者签发", "the token is of another issuer";
    TOKEN_CLAIMS:
        "令牌缺少某个声明，或者形式不对：需要 sub 和 exp",
        "the token lacks a claim, or has it in another form: sub and exp are needed";
    TOKEN_CRITICAL:
        "令牌需要这里不认识的扩展",
        "the token needs extensions that are not known here";
}

texts! {
    // Faults of a field, to go on after its name.
    is_missing(expected) "缺失；必须是{expected}", "is missing; it must be {expected}";
    is_other(expected, given)
        "必须是{expected}，但收到的是 {given}",
        "must be {expected}, but is {given}";
    must_be(expected) "必须是{expected}", "must be {expected}";
    is_repeated(times) "给了 {times} 次；请只发送一次", "is given {times} times; send it once";
    has_so_many(expected, count)
        "必须是{expected}，但有 {count} 个",
        "must be {expected}, but has {count}";
    one_of(names) "{names} 之一", "one of {names}";
    whole_number_up_to(most) "从 1 到 {most} 的整数", "a whole number from 1 to {most}";

    // Faults of a request.
    with_example(faults, example) "{faults}。请发送 {example}", "{faults}. Send {example}";
    of_body(fault, example) "请求体{fault}；请发送 {example}", "the body {fault}; send {example}";
    is_not_json(problem) "不是 JSON：{problem}", "is not JSON: {problem}";
    is_no_object(given)
        "必须是 JSON 对象，但收到的是 {given}",
        "must be a JSON object, but is {given}";
    of_header(name, fault) "请求头 {name} {fault}", "the header {name} {fault}";
    of_path(problem) "无法读取：{problem}", "cannot be read: {problem}";
    of_query(problem) "无法读取查询参数：{problem}", "the query cannot be read: {problem}";
    body_too_large(limit) "请求体超过 {limit} 字节", "the body is larger than {limit} bytes";
    body_cut_off(problem)
        "请求体没有完整到达：{problem}",
        "the body did not arrive whole: {problem}";
    body_too_slow(limit)
        "请求体没有在 {limit} 秒内到齐；请重新发送请求",
        "the body did not arrive within {limit} s; send the request again";
    no_route(method, path)
        "没有 {method} {path} 这个路由；GET /docs 列出所有路由",
        "there is no route {method} {path}; GET /docs shows those that there are";
    no_kind(name)
        "没有名为 {name} 的问题；GET /problems 列出所有问题",
        "there is no problem named {name}; GET /problems lists those that there are";
    wrong_method(path, method)
        "{path} 不支持 {method}；响应头 Allow 说明支持什么",
        "{path} is not for {method}; the Allow header says what it is for";
    too_often(seconds)
        "这个调用者的请求太频繁；请等待 {seconds} 秒",
        "the caller sends too many requests; wait {seconds} s";

    // Objects and their owners.
    no_object(what, id)
        "没有 id 为 {id} 的{what}，或者它已被删除",
        "there is no {what} {id}, or it is deleted";
    cannot_read(service)
        "{service} 现在无法读取它的数据；请再问一次",
        "{service} cannot read its data now; ask again";
    cannot_ask(reason)
        "问题无法送出（{reason}）；请再问一次",
        "the question cannot be put ({reason}); ask again";
    no_answer(service, limit)
        "{service} 没有在 {limit} 秒内回答；请再问一次",
        "{service} did not answer within {limit} s; ask again";

    // Dead letters.
    no_dead_letter(id)
        "没有 id 为 {id} 的消息在死信队列中，也从未有过",
        "nothing with the id {id} is parked, or ever was put back or dropped";
    no_run(run)
        "这个网关不认识处理 {run}，记录里也没有它",
        "neither does this gateway know a run {run}, nor has the record an entry of it";
    run_elsewhere(run)
        "处理 {run} 不在这个网关上；只有开始它的网关才能停止它",
        "this gateway does no run {run}; only the one that began it can stop it";
    dead_letters_away(problem)
        "现在无法访问死信队列：{problem}",
        "dead letters cannot be reached now: {problem}";
    unknown_queue(problem)
        "不是这个系统的队列：{problem}",
        "names no queue of this system: {problem}";

    // Sagas.
    refused_with(reason)
        "某个步骤以原因 {reason} 拒绝了请求",
        "a step refused with the reason {reason}";
    broker_away(reason)
        "消息代理不可用（{reason}）；什么都没有开始",
        "the broker is away ({reason}); nothing was started";
    not_confirmed(reason)
        "不知道命令是否已发布（{reason}）",
        "the command is not known to be published ({reason})";
    ask_and_send_again(url, over)
        "命令可能已被接受，也可能没有：GET {url} 会说明。如果它在 {over} 之后回答 404，\
         那么什么都没有执行，以后也不会，可以重新发送请求",
        "It may or may not have been accepted: GET {url} tells. If that answers 404 after {over}, \
         nothing was done nor will be, and the request may be sent again";
    saga_unknown(saga)
        "没有已知的流程 {saga}；另一个网关刚刚接受的流程片刻之后才会出现",
        "no saga {saga} is known; one just accepted by another gateway shows in a moment";
    ledger_behind(saga, reason)
        "还没有已知的流程 {saga}，但流程的记录落后了：它在等待 {reason}。请再问一次",
        "no saga {saga} is known yet, but the ledger is behind: it waits for {reason}. Ask again";
    saga_unreadable(saga)
        "有流程 {saga} 的记录，但这个网关无法读取它：它由另一个版本或由人写入；\
         需要操作员升级网关，或修复、删除这条记录",
        "the ledger has saga {saga}, but this gateway cannot read its row, which another build or a \
         person wrote; an operator has to upgrade the gateway, or repair or delete the row";
    streams_full(most)
        "已经打开了 {most} 个事件流，不能再多；请用 GET /sagas/{{id}} 查询流程",
        "{most} streams are open already, as many as may be; ask GET /sagas/{{id}} for the saga";
    streams_of_caller_full(most)
        "这个调用者已经打开了 {most} 个事件流，不能再多；请关闭一个，或用 GET /sagas/{{id}} 查询流程",
        "the caller has {most} streams open already, as many as it may; close one, or ask \
         GET /sagas/{{id}} for the saga";
}

/// Why a token is not taken.
pub(in crate::http) fn of_token(why: BadToken) -> Words {
    match why {
        BadToken::Malformed => TOKEN_MALFORMED,
        BadToken::UnknownKey => TOKEN_OF_UNKNOWN_KEY,
        BadToken::Signature => TOKEN_SIGNATURE,
        BadToken::Expired => TOKEN_EXPIRED,
        BadToken::TooEarly => TOKEN_TOO_EARLY,
        BadToken::Audience => TOKEN_AUDIENCE,
        BadToken::Issuer => TOKEN_ISSUER,
        BadToken::Claims => TOKEN_CLAIMS,
        BadToken::Critical => TOKEN_CRITICAL,
    }
}
