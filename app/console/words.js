// Every word of the page, in both languages, and how numbers and times are written in them.

export const WORDS = {
  en: {
    title: "Member lifecycle",
    skip: "Skip to the content",
    say: "Follows every member of a shop live, notices the moment somebody stays away, and says what to send: once, and why.",
    language: "中文",
    language_about: "Switch to Chinese",
    theme_auto: "Colours: automatic",
    theme_light: "Colours: light",
    theme_dark: "Colours: dark",

    link_connecting: "Connecting",
    link_live: "Live",
    link_lost: "Reconnecting",
    link_refused: "Token needed",
    link_full: "Waiting",
    lost: "The connection to the worker was lost at {at}. It is tried again all the time; nothing is missed.",
    full: "More people watch at this worker than it lets. What this page shows is as it was at {at}; it is tried again all the time, or ask another worker.",
    away: "Redis does not answer. Messages are still decided and sent; what this page shows is as it was at {at}.",
    gate: "This worker is reached from beyond its own machine, and tells nothing about members without its token.",
    gate_go: "Go on",
    gate_wrong: "Refused: {why}",
    empty_title: "Nothing yet",
    empty: "Send events to the member topics, or run the demo:",

    find: "Find a member",
    find_label: "Member id, order id, phone or e-mail",
    find_kind: "What it is",
    kind_auto: "Find out",
    kind_id: "Member id",
    kind_order: "Order id",
    kind_contact: "Phone or e-mail",
    find_go: "Find",
    find_privacy: "A phone number or e-mail is hashed in this browser; only the hash is sent.",
    find_none: "Nobody is known by “{what}”.",
    find_none_mail: "Nobody is known by “{what}” as an e-mail address; choose “Member id” or “Order id” to look for one.",
    find_none_phone: "Nobody is known by “{what}” as a phone number; choose “Member id” or “Order id” to look for one.",
    find_national: "A phone number needs its country code, such as +86.",
    find_busy: "Looking…",
    find_insecure: "This browser hashes contact data only on HTTPS or localhost, and it is never sent as it is. Search by member or order id.",
    find_failed: "The search failed: {why}",

    counters: "The figures now",
    events: "events read",
    events_per_second: "events a second",
    members: "members known",
    triggers: "messages due",
    cancelled: "taken back",
    cancelled_about: "overtaken before a gateway said that it sent them",

    river: "Where members are, and where they go",
    river_about: "A circle is a stage, as large as the members in it. A stream is as wide as the moves along it. Points that travel are members, moving now.",
    river_picture: "Members by stage: {stages}. The same figures are in the table below the picture.",
    river_table: "The same as a table",
    stage: "Stage",
    today: "Today",
    total: "In all",
    share: "Share",
    moves: "Moves between stages",
    members_by_stage: "Members by stage",
    no_moves: "No moves yet.",

    feed: "What is said, and why",
    feed_about: "Newest first. Each line is one member: a message that is due, one that the member overtook, or a change of stage.",
    pause: "Pause",
    resume: "Go on",
    paused: "Paused, {count} new",
    reading: "Held while you read, {count} new",
    show: "Show",
    show_trigger: "Due",
    feed_skip: "Skip these messages",
    show_cancelled: "Taken back",
    show_stage: "Stages",
    entry_trigger: "due",
    entry_cancelled: "taken back",
    entry_settled: "sent, then overtaken",
    entry_stage: "moved",
    feed_empty: "Nothing has been said yet.",
    feed_hidden: "Nothing of what is chosen above.",

    look: "Whom to look at",
    look_about: "Of those who are not yet dormant the most at risk of not coming back, or the latest to enter a stage.",
    look_which: "List",
    look_risk: "Highest churn risk",
    look_stage: "Latest: {stage}",
    look_none: "Nobody yet.",
    look_unknown: "Not known yet: the model has to see first how things end.",
    look_failed: "The list cannot be had now: {why}",

    member: "Member",
    close: "Close",
    loading: "Loading…",
    unknown_member: "There is no member “{id}”.",
    unknown_help: "Perhaps it was erased, or no event has named it yet.",
    member_failed: "This member cannot be shown now: {why}",
    again: "Try again",
    since: "since {at}",
    muted_until: "Muted until {at}",
    until_when: "until {at}",

    fact_orders: "Orders",
    fact_spend: "Spent",
    fact_refunded: "{sum} refunded",
    fact_last_order: "Last order",
    fact_last_activity: "Last seen",
    fact_registered: "Registered",
    fact_churn: "Risk of not coming back",
    fact_value: "Expected value",
    fact_next: "Next order",
    fact_rfm: "RFM",
    fact_tags: "Tags",
    fact_segments: "Segments",
    fact_consent: "Consent",
    fact_cart: "Cart",
    fact_items: "Looked at",
    fact_tier: "Tier",
    fact_points: "Points",
    fact_zone: "Time zone",
    fact_open: "Open messages",
    never: "never",
    none: "none",
    not_yet: "not known yet",
    between: "between {from} and {to}",
    around: "around {at}",
    recency: "recency",
    frequency: "frequency",
    monetary: "money",
    of_five: "{name} {score} of 5",
    consent_none: "nothing said",
    consent_yes: "agreed to {what}",
    consent_no: "refused {what}",
    consent_of: "{purpose} by {channels}",
    comma: ", ",
    consent_all: "every channel",
    channel_app_push: "app push",
    channel_sms: "sms",
    channel_email: "e-mail",
    channel_wechat: "WeChat",
    source_web: "web",
    source_app: "app",
    source_mini_program: "mini program",
    source_store: "store",
    source_pos: "till",
    purpose_marketing: "marketing",
    purpose_service: "service messages",
    open_count: "{count} open",

    last: "Last messages",
    last_about: "What is open, and what each rule said last as far as it remembers; all of it is in the timeline.",
    last_none: "Nothing has been due yet.",
    last_open: "open: may still be taken back",
    last_sent: "sent",
    last_not_sent: "could not be sent",
    last_over: "over",

    ahead: "Ahead",
    ahead_none: "No deadline is armed.",
    ahead_muted: "Muted: what comes due before {at} is not sent.",
    timeline: "What happened",
    timeline_about: "What was seen, what changed, what was sent and what was held back.",
    timeline_none: "Nothing is kept of this member.",
    timeline_failed: "The timeline cannot be had now: {why}",
    more: "Earlier",
    score_title: "Risk over time",
    score_about: "From {first} on {from} to {last} on {to}.",
    kind_event: "seen",
    kind_decision: "held back",
    kind_trigger: "due",
    kind_cancelled: "taken back",
    kind_settled: "sent, then overtaken",
    kind_stage: "moved",
    kind_band: "band",
    kind_segment: "segment",
    kind_score: "score",
    entered: "into {what}",
    left: "out of {what}",
    pair: "{what}: {more}",

    why: "Why did a rule fire, or not?",
    why_rule: "Rule",
    why_go: "Ask",
    why_when: "It fires when: {when}",
    why_armed: "Armed for {at}: {text}",
    why_holds: "Holds: {text}",
    why_fails: "Does not hold: {text}",
    why_held: "Held until {at}: {text}",
    why_last: "Last raised {at}",
    why_quiet: "Nothing is armed for this member.",
    why_failed: "This cannot be told now: {why}",

    mute: "Mute this member",
    mute_about: "Nothing is sent until the end of that day, and what is open is taken back. It is recorded.",
    mute_until: "Until",
    mute_reason: "Reason (optional)",
    mute_token: "Token",
    mute_token_about: "Kept in this tab only.",
    mute_go: "Mute",
    mute_end: "End the mute",
    mute_done: "Muted until {at}. It takes effect within a second.",
    mute_ended: "The mute is ended.",
    mute_no_date: "Choose a day from today on.",
    mute_no_token: "A token is needed.",
    mute_failed: "Not muted: {why}",

    rules: "Rules",
    rules_about: "How often each rule raised a message, day by day, and how often it was held back.",
    rule: "Rule",
    rule_days: "{count} days",
    rule_today: "Today",
    rule_held: "Held back",
    rule_cancelled: "Taken back",
    rule_state: "State",
    rule_live: "live",
    rule_shadow: "shadow",
    rule_off: "off",
    rule_open: "breaker open",
    rules_all: "Show all {count} rules",
    rules_some: "Show those with something to tell",
    rules_none: "No rules are loaded.",
    rules_quiet: "No rule has raised anything yet.",
    spark: "{today} on the last day, {most} at most, over {count} days",

    model: "The churn model",
    model_about: "Learned on the go from what members then did, and judged only on predictions made before.",
    model_none: "Nothing to judge yet: whether a prediction was right is known some weeks later.",
    auc: "Ranking (AUC)",
    auc_about: "How often one who leaves is ranked above one who stays. 0.5 is chance, 1 is always.",
    ece: "Calibration error (ECE)",
    ece_about: "How far the stated chance is from what happened, on average.",
    log_loss: "Log loss",
    log_loss_about: "The price of confident mistakes. Lower is better.",
    labels: "Answers judged",
    labels_about: "Predictions of about the last four weeks whose outcome is known.",
    model_version: "Version",
    model_since: "in use since {at}",
    drift: "Drift",
    drift_no: "none seen",
    drift_yes: "seen: members behave differently than before",
    drift_unknown: "not known yet",

    more_for_machines: "For machines",

    stage_lead: "lead",
    stage_new: "new",
    stage_silent: "silent",
    stage_active: "active",
    stage_loyal: "loyal",
    stage_dormant: "dormant",
    stage_lost: "lost",
    band_light: "light",
    band_medium: "medium",
    band_high: "high",

    verdict_raised: "due",
    verdict_unless: "its exception held",
    verdict_condition: "a condition did not hold",
    verdict_reentry: "too soon to repeat",
    verdict_expired: "expired",
    verdict_late: "the event came late",
    verdict_backfill: "history",
    verdict_anonymous: "nobody to write to yet",
    verdict_consent: "no consent",
    verdict_overflow: "too many at once",
    verdict_mute: "muted",
    verdict_stop: "everything is stopped",
    verdict_unreachable: "cannot be reached",
    verdict_hold: "an open problem",
    verdict_silence: "too soon after an order",
    verdict_holdout: "control group",
    verdict_cool_down: "cooling down",
    verdict_cap: "enough was sent",
    verdict_arbitration: "another message won",
    verdict_quiet: "quiet hours",
    verdict_held: "waits",
    verdict_suspended: "suspended",
    verdict_overtaken: "overtaken",
    verdict_shadow: "shadow rule",

    event_register: "registered",
    event_profile: "changed the profile",
    event_consent: "changed a consent",
    event_link: "linked to another id",
    event_points: "points changed",
    event_tier: "tier changed",
    event_offer_granted: "was given an offer",
    event_offer_redeemed: "used an offer",
    event_offer_expired: "let an offer expire",
    event_mute: "muted",
    event_unmute: "mute ended",
    event_tag: "was tagged",
    event_untag: "lost a tag",
    event_erase: "erased",
    event_sent: "message sent",
    event_delivered: "message delivered",
    event_failed: "message failed",
    event_opened: "opened a message",
    event_clicked: "clicked in a message",
    event_bounced: "message came back",
    event_complained: "complained",
    event_unsubscribed: "unsubscribed",
    event_review: "wrote a review",
    event_rating: "gave a rating",
    event_share: "shared",
    event_post: "posted",
    event_invite: "invited a friend",
    event_invite_accepted: "won a friend",
    event_rsvp: "answered an invitation",
    event_attended: "attended",
    event_campaign_join: "joined an activity",
    event_ticket_opened: "opened a ticket",
    event_ticket_closed: "ticket closed",
    event_survey: "answered a survey",
    event_visit: "visited",
    event_view_item: "viewed an item",
    event_search: "searched",
    event_add_to_cart: "added to the cart",
    event_remove_from_cart: "took out of the cart",
    event_begin_checkout: "began a checkout",
    event_purchase: "bought",
    event_order_placed: "placed an order",
    event_order_shipped: "order shipped",
    event_order_delivered: "order delivered",
    event_return_requested: "asked to return an order",
    event_cancel: "cancelled an order",
    event_refund: "got a refund",
    event_item: "item",
  },
  zh: {
    title: "会员生命周期",
    skip: "跳到正文",
    say: "实时跟随店铺的每一位会员，在有人久未归来的那一刻察觉，并决定该发什么消息：只发一次，并说明理由。",
    language: "English",
    language_about: "切换为英文",
    theme_auto: "配色：自动",
    theme_light: "配色：浅色",
    theme_dark: "配色：深色",

    link_connecting: "连接中",
    link_live: "实时",
    link_lost: "重新连接中",
    link_refused: "需要令牌",
    link_full: "等待中",
    lost: "与工作进程的连接已于 {at} 中断，正在不断重试；不会遗漏任何内容。",
    full: "本工作进程的观看人数已满。本页显示的是 {at} 的情况，正在不断重试，也可访问其他工作进程。",
    away: "Redis 没有应答。消息仍照常决定和发出；本页显示的是 {at} 的情况。",
    gate: "本工作进程可从其他机器访问，没有令牌便不提供任何会员信息。",
    gate_go: "继续",
    gate_wrong: "被拒绝：{why}",
    empty_title: "暂无内容",
    empty: "向会员主题发送事件，或运行演示：",

    find: "查找会员",
    find_label: "会员编号、订单号、手机号或邮箱",
    find_kind: "类型",
    kind_auto: "自动判断",
    kind_id: "会员编号",
    kind_order: "订单号",
    kind_contact: "手机号或邮箱",
    find_go: "查找",
    find_privacy: "手机号或邮箱在本浏览器内散列，只发送散列值。",
    find_none: "没有与“{what}”对应的会员。",
    find_none_mail: "没有邮箱为“{what}”的会员；要查编号，请选择“会员编号”或“订单号”。",
    find_none_phone: "没有手机号为“{what}”的会员；要查编号，请选择“会员编号”或“订单号”。",
    find_national: "手机号需带国家代码，例如 +86。",
    find_busy: "查找中…",
    find_insecure: "浏览器只在 HTTPS 或本机地址下散列联系方式，而原文绝不发送。请用会员编号或订单号查找。",
    find_failed: "查找失败：{why}",

    counters: "此刻的数字",
    events: "已读事件",
    events_per_second: "每秒事件",
    members: "已知会员",
    triggers: "应发消息",
    cancelled: "已撤回",
    cancelled_about: "网关报告发出之前已失去意义",

    river: "会员在哪里，往哪里去",
    river_about: "圆是阶段，大小为其中的会员数；水流的宽度为经过的人次；移动的点是此刻正在变化的会员。",
    river_picture: "各阶段会员数：{stages}。图下表格中有同样的数字。",
    river_table: "以表格查看",
    stage: "阶段",
    today: "今日",
    total: "累计",
    share: "占比",
    moves: "阶段之间的变化",
    members_by_stage: "各阶段会员",
    no_moves: "还没有变化。",

    feed: "说了什么，为什么",
    feed_about: "最新的在前。每一行是一位会员：一条应发的消息、一条已失去意义的消息，或一次阶段变化。",
    pause: "暂停",
    resume: "继续",
    paused: "已暂停，新增 {count} 条",
    reading: "阅读时暂不滚动，新增 {count} 条",
    show: "显示",
    show_trigger: "应发",
    feed_skip: "跳过这些消息",
    show_cancelled: "撤回",
    show_stage: "阶段",
    entry_trigger: "应发",
    entry_cancelled: "撤回",
    entry_settled: "发出后失去意义",
    entry_stage: "变化",
    feed_empty: "还没有任何消息。",
    feed_hidden: "所选类别暂无内容。",

    look: "值得关注的会员",
    look_about: "尚未沉睡而最可能不再回来的，或最近进入某一阶段的会员。",
    look_which: "名单",
    look_risk: "流失风险最高",
    look_stage: "最近进入：{stage}",
    look_none: "暂无会员。",
    look_unknown: "尚不清楚：模型需要先看到结果。",
    look_failed: "暂时无法取得名单：{why}",

    member: "会员",
    close: "关闭",
    loading: "加载中…",
    unknown_member: "没有会员“{id}”。",
    unknown_help: "可能已被清除，或尚无事件提到该会员。",
    member_failed: "暂时无法显示该会员：{why}",
    again: "重试",
    since: "自 {at} 起",
    muted_until: "静默至 {at}",
    until_when: "至 {at}",

    fact_orders: "订单",
    fact_spend: "消费",
    fact_refunded: "其中退款 {sum}",
    fact_last_order: "最近下单",
    fact_last_activity: "最近出现",
    fact_registered: "注册",
    fact_churn: "流失风险",
    fact_value: "预期价值",
    fact_next: "下次下单",
    fact_rfm: "RFM",
    fact_tags: "标签",
    fact_segments: "人群",
    fact_consent: "授权",
    fact_cart: "购物车",
    fact_items: "看过",
    fact_tier: "等级",
    fact_points: "积分",
    fact_zone: "时区",
    fact_open: "未过期的消息",
    never: "从未",
    none: "无",
    not_yet: "尚无预测",
    between: "{from} 至 {to} 之间",
    around: "{at} 前后",
    recency: "最近度",
    frequency: "频率",
    monetary: "金额",
    of_five: "{name} {score}/5",
    consent_none: "未表态",
    consent_yes: "已同意{what}",
    consent_no: "已拒绝{what}",
    consent_of: "{purpose}（{channels}）",
    comma: "、",
    consent_all: "所有渠道",
    channel_app_push: "应用推送",
    channel_sms: "短信",
    channel_email: "邮件",
    channel_wechat: "微信",
    source_web: "网站",
    source_app: "应用",
    source_mini_program: "小程序",
    source_store: "门店",
    source_pos: "收银台",
    purpose_marketing: "营销消息",
    purpose_service: "服务消息",
    open_count: "{count} 条",

    last: "最近的消息",
    last_about: "未完结的消息，以及各规则还记得的最近一条；全部消息见时间线。",
    last_none: "还没有应发的消息。",
    last_open: "未过期：仍可能撤回",
    last_sent: "已发出",
    last_not_sent: "未能发出",
    last_over: "已结束",

    ahead: "将要到期",
    ahead_none: "没有待触发的时间。",
    ahead_muted: "静默中：{at}之前到期的内容不会发送。",
    timeline: "发生过什么",
    timeline_about: "看到的事件、发生的变化、发出的和未发的消息。",
    timeline_none: "没有该会员的记录。",
    timeline_failed: "暂时无法取得时间线：{why}",
    more: "更早",
    score_title: "风险变化",
    score_about: "从 {from} 的 {first} 到 {to} 的 {last}。",
    kind_event: "事件",
    kind_decision: "未发",
    kind_trigger: "应发",
    kind_cancelled: "撤回",
    kind_settled: "发出后失去意义",
    kind_stage: "变化",
    kind_band: "频次段",
    kind_segment: "人群",
    kind_score: "评分",
    entered: "进入“{what}”",
    left: "离开“{what}”",
    pair: "{what}：{more}",

    why: "规则为什么触发，或为什么没有？",
    why_rule: "规则",
    why_go: "询问",
    why_when: "触发条件：{when}",
    why_armed: "待触发 {at}：{text}",
    why_holds: "满足：{text}",
    why_fails: "不满足：{text}",
    why_held: "等待至 {at}：{text}",
    why_last: "上次触发 {at}",
    why_quiet: "该会员没有待触发的时间。",
    why_failed: "暂时无法回答：{why}",

    mute: "静默该会员",
    mute_about: "到该日结束之前不发送任何消息，未过期的消息将撤回。此操作会留下记录。",
    mute_until: "直到",
    mute_reason: "原因（可不填）",
    mute_token: "令牌",
    mute_token_about: "只保存在本标签页。",
    mute_go: "静默",
    mute_end: "结束静默",
    mute_done: "已静默至 {at}，一秒内生效。",
    mute_ended: "已结束静默。",
    mute_no_date: "请选择今天或以后的日期。",
    mute_no_token: "需要令牌。",
    mute_failed: "未能静默：{why}",

    rules: "规则",
    rules_about: "每条规则每天触发的次数，以及未发的次数。",
    rule: "规则",
    rule_days: "{count} 天",
    rule_today: "今日",
    rule_held: "未发",
    rule_cancelled: "撤回",
    rule_state: "状态",
    rule_live: "运行",
    rule_shadow: "影子",
    rule_off: "停用",
    rule_open: "已熔断",
    rules_all: "显示全部 {count} 条规则",
    rules_some: "只显示有内容的规则",
    rules_none: "没有加载规则。",
    rules_quiet: "还没有规则触发。",
    spark: "{count} 天内：最后一天 {today}，最多 {most}",

    model: "流失模型",
    model_about: "随会员后来的行为不断学习，只以事先作出的预测来评判。",
    model_none: "暂无可评判的预测：预测是否正确，要几周之后才知道。",
    auc: "排序能力（AUC）",
    auc_about: "流失者排在留存者之前的比例。0.5 为随机，1 为总是。",
    ece: "校准误差（ECE）",
    ece_about: "预测的可能性与实际结果的平均差距。",
    log_loss: "对数损失",
    log_loss_about: "过于自信的错误所付的代价，越低越好。",
    labels: "已评判的结果",
    labels_about: "约最近四周内结果已知的预测。",
    model_version: "版本",
    model_since: "自 {at} 起使用",
    drift: "漂移",
    drift_no: "未发现",
    drift_yes: "已发现：会员行为与以前不同",
    drift_unknown: "尚不清楚",

    more_for_machines: "供程序使用",

    stage_lead: "潜客",
    stage_new: "新客",
    stage_silent: "沉默",
    stage_active: "活跃",
    stage_loyal: "忠诚",
    stage_dormant: "沉睡",
    stage_lost: "流失",
    band_light: "低频",
    band_medium: "中频",
    band_high: "高频",

    verdict_raised: "应发",
    verdict_unless: "例外成立",
    verdict_condition: "条件不满足",
    verdict_reentry: "未到可再次触发的时间",
    verdict_expired: "已过期",
    verdict_late: "事件迟到",
    verdict_backfill: "历史数据",
    verdict_anonymous: "匿名访客",
    verdict_consent: "未获授权",
    verdict_overflow: "数量超限",
    verdict_mute: "已静默",
    verdict_stop: "全局暂停",
    verdict_unreachable: "无法触达",
    verdict_hold: "有未解决的问题",
    verdict_silence: "下单后静默期",
    verdict_holdout: "对照组",
    verdict_cool_down: "冷却期",
    verdict_cap: "频次上限",
    verdict_arbitration: "让位于其他规则",
    verdict_quiet: "免打扰时段",
    verdict_held: "等待中",
    verdict_suspended: "暂缓",
    verdict_overtaken: "已失效",
    verdict_shadow: "影子模式",

    event_register: "注册",
    event_profile: "更新资料",
    event_consent: "更改授权",
    event_link: "关联账号",
    event_points: "积分变动",
    event_tier: "等级变动",
    event_offer_granted: "获得优惠",
    event_offer_redeemed: "使用优惠",
    event_offer_expired: "优惠过期",
    event_mute: "静默",
    event_unmute: "静默结束",
    event_tag: "获得标签",
    event_untag: "移除标签",
    event_erase: "清除",
    event_sent: "消息已发出",
    event_delivered: "消息已送达",
    event_failed: "消息发送失败",
    event_opened: "打开消息",
    event_clicked: "点击消息",
    event_bounced: "消息被退回",
    event_complained: "投诉",
    event_unsubscribed: "退订",
    event_review: "发表评价",
    event_rating: "评分",
    event_share: "分享",
    event_post: "发帖",
    event_invite: "邀请好友",
    event_invite_accepted: "好友接受邀请",
    event_rsvp: "回复邀约",
    event_attended: "到场参加",
    event_campaign_join: "参加活动",
    event_ticket_opened: "提交工单",
    event_ticket_closed: "工单关闭",
    event_survey: "填写问卷",
    event_visit: "访问",
    event_view_item: "浏览商品",
    event_search: "搜索",
    event_add_to_cart: "加入购物车",
    event_remove_from_cart: "移出购物车",
    event_begin_checkout: "开始结算",
    event_purchase: "下单",
    event_order_placed: "提交订单",
    event_order_shipped: "订单发货",
    event_order_delivered: "收到订单",
    event_return_requested: "申请退货",
    event_cancel: "取消订单",
    event_refund: "获得退款",
    event_item: "商品",
  },
};

/** What moves a churn score, as the engine says it in English, in Chinese. */
export const REASONS = {
  "silent for longer than usual for this member": "沉默时间超过该会员的平常间隔",
  "bought not long ago, for this member": "就该会员而言,不久前刚购买",
  "has bought less often than most lately": "近期购买少于多数会员",
  "has bought more often than most lately": "近期购买多于多数会员",
  "buys less than before": "购买比以前少",
  "buys more than before": "购买比以前多",
  "has stayed away for so long before": "以往也曾久未购买",
  "has never stayed away for so long": "以往从未如此久未购买",
  "bought because of offers": "因优惠而购买",
  "answers to offers": "对优惠有反应",
  "has spent less than most lately": "近期消费少于多数会员",
  "has spent more than most lately": "近期消费多于多数会员",
  "comes to look less than most": "浏览少于多数会员",
  "comes to look more than most": "浏览多于多数会员",
};

let language = document.documentElement.lang.startsWith("zh") ? "zh" : "en";

export function currentLanguage() {
  return language;
}

export function setLanguage(chosen) {
  language = chosen;
  document.documentElement.lang = chosen === "zh" ? "zh-CN" : "en";
}

/** The words of a key, with {names} filled in. */
export function t(key, values = {}) {
  return WORDS[language][key].replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

// What the shop calls its own things in Chinese; whatever has no Chinese name keeps its own.
const called = { rule: new Map(), segment: new Map(), tag: new Map() };

/** Learns names of a kind (rule, segment, tag): {name: {title, about}}. */
export function learnNames(kind, told) {
  called[kind] = new Map(Object.entries(told ?? {}));
}

const chinese = (kind, name) => (language === "zh" ? called[kind]?.get(name) : undefined);

/** One sentence about a rule, a segment or a tag in Chinese, when that is spoken and there is one. */
export const aboutOf = (kind, name) => chinese(kind, name)?.about;

/** The words of a value from a closed vocabulary; what is not known stays as it is. */
export function named(kind, value) {
  const own = chinese(kind, value);
  if (own) return own.title;
  return WORDS[language][`${kind}_${value}`] ?? String(value ?? "").replaceAll("_", " ");
}

const INSTANT = /(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(?::\d\d(?:\.\d+)?)?(?:Z| UTC)/g;
const LENGTH = /(?<![\w-])(\d+)(ms|[smhd])(?![\w-]) ?/g;
// The engine writes the punctuation of both languages alike; between Han characters it is theirs.
const BESIDE_HAN = /(?<=\p{Script=Han})[,:;]|[,:;](?=\p{Script=Han})/gu;
const OF_HAN = { ",": "，", ":": "：", ";": "；" };
const UNITS = { ms: "毫秒", s: "秒", m: "分钟", h: "小时", d: "天" };

/** A sentence of the engine with its instants as the page writes times: it says them in UTC. */
export function sentenceOf(text) {
  const timed = text.replace(INSTANT, (_, date, clock) => longMoment(`${date}T${clock}Z`));
  if (!/\p{Script=Han}/u.test(text)) return timed;
  return timed.replace(LENGTH, (_, count, unit) => `${count} ${UNITS[unit]}`)
    .replace(BESIDE_HAN, (mark) => OF_HAN[mark]);
}

/** What the engine says of an entry, in both languages or in one. */
export function said(entry, field = "text") {
  const sentence = sentenceOf((language === "zh" && entry[`${field}_zh`]) || entry[field] || "");
  if (entry.kind !== "cancelled") return sentence;
  // What overtook a message is told as an event's type and what it was about.
  const [type, ...about] = sentence.split(" ");
  const happened = WORDS[language][`event_${type}`];
  return happened ? [happened, ...about].join(" ") : sentence;
}

const REFUSALS = {
  busy: "正在处理的同类请求过多，请稍后再试",
  unavailable: "数据暂不可用",
  internal: "出现意外错误，详见工作进程的日志",
  unauthorized: "需要访问令牌",
  forbidden: "没有权限",
};

/** Why the worker gave no answer. */
export function whyNot(body, status) {
  return (language === "zh" && REFUSALS[body.error]) || (body.reason ?? String(status));
}

export function reason(english) {
  return (language === "zh" && REASONS[english]) || english;
}

/** A rule's name as words. */
export function ruleName(rule) {
  const own = chinese("rule", rule);
  if (own) return own.title;
  const words = String(rule).replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

const locale = () => (language === "zh" ? "zh-CN" : "en-GB");
const made = new Map();

function formatter(kind, options) {
  const key = locale() + kind.name + JSON.stringify(options);
  if (!made.has(key)) made.set(key, new kind(locale(), options));
  return made.get(key);
}

export function number(value, digits = 0) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return formatter(Intl.NumberFormat, options).format(value);
}

/** A number that has to fit: what is above ten millions is rounded. */
export function figure(value) {
  if (!(value >= 1e7)) return number(value);
  const options = { notation: "compact", maximumFractionDigits: 2 };
  return formatter(Intl.NumberFormat, options).format(value);
}

export function percent(value) {
  if (value === null || value === undefined) return "–";
  return formatter(Intl.NumberFormat, { style: "percent", maximumFractionDigits: 0 }).format(value);
}

function written(instant, options) {
  const date = new Date(instant);
  if (Number.isNaN(date.getTime())) return String(instant ?? "–");
  return formatter(Intl.DateTimeFormat, options).format(date);
}

export const day = (instant) =>
  written(instant, { day: "numeric", month: "short", year: "numeric" });
export const time = (instant) =>
  written(instant, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
export const moment = (instant) =>
  written(instant, {
    day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hour12: false,
  });
export const longMoment = (instant) =>
  written(instant, {
    day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit",
    hour12: false,
  });
