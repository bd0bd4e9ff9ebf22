/* Counts of whole lines by their headers, for statistics. The counterpart of `logs/reading/tally.py`.

   Lines whose header is exactly our writer's are counted here, without decoding and without the interpreter lock: by
   level and process, by minute, by message, and their numbers in runs; and the values of fields. Trades and errors, which
   may be copies, and all other lines are handed back as places. */

#include "tally.h"

int
add_number(List *list, int64_t item)
{
    if (list->used == list->room) {
        size_t room = list->room ? list->room * 2 : 64;
        int64_t *larger = PyMem_RawRealloc(list->items, room * sizeof(int64_t));
        if (larger == NULL)
            return -1;
        list->items = larger;
        list->room = room;
    }
    list->items[list->used++] = item;
    return 0;
}

static int
add(Tally *tally, List *list, int64_t item)
{
    int failed = add_number(list, item);
    tally->failed |= failed;
    return failed;
}

/* -- counting ----------------------------------------------------------------------------------------------------- */

static int
process_of(Tally *tally, const Header *header)
{
    for (int i = 0; i < tally->process_count; i++)
        if (same(tally->processes[i].host, header->host) && same(tally->processes[i].pid, header->pid))
            return i;
    if (tally->process_count == MOST_PROCESSES)
        return -1;
    tally->processes[tally->process_count] = (Process){.host = header->host, .pid = header->pid};
    return tally->process_count++;
}

/* Return the kind of a line; NULL when there are too many, or when its level is none of ours. */
static Kind *
kind_of(Tally *tally, const Header *header, Text expert)
{
    for (int i = 0; i < tally->kind_count; i++)
        if (same(tally->kinds[i].head, header->head) && same(tally->kinds[i].level, header->level) &&
            same(tally->kinds[i].expert, expert))
            return &tally->kinds[i];
    Text level = header->level;
    int error = is_word(level, "error") || is_word(level, "critical");
    if (!error && !is_word(level, "debug") && !is_word(level, "info") && !is_word(level, "warning"))
        return NULL;
    int process = tally->kind_count < MOST_KINDS ? process_of(tally, header) : -1;
    if (process < 0)
        return NULL;
    Kind *kind = &tally->kinds[tally->kind_count++];
    *kind = (Kind){level, header->head, expert, process, error || is_word(header->msgid, "trade"), 0};
    return kind;
}

static Minute *
minute_of(Tally *tally, const char *time)
{
    Text text = {time, MINUTE};
    for (int i = 0; i < tally->minute_count; i++) {
        int at = (tally->minute + i) % tally->minute_count; /* that of the line before, most of the time */
        if (same(tally->minutes[at].minute, text)) {
            tally->minute = at;
            return &tally->minutes[at];
        }
    }
    if (tally->minute_count == MOST_MINUTES)
        return NULL;
    tally->minute = tally->minute_count++;
    tally->minutes[tally->minute] = (Minute){text, 0};
    return &tally->minutes[tally->minute];
}

static int
add_range(Tally *tally, List *ranges, int64_t first, int64_t last)
{
    if (ranges->used && ranges->items[ranges->used - 1] == first - 1) {
        ranges->items[ranges->used - 1] = last;
        return 0;
    }
    return add(tally, ranges, first) || add(tally, ranges, last);
}

static int
close_run(Tally *tally, Process *process)
{
    if (process->first == 0)
        return 0;
    int failed = add(tally, &process->runs, process->first) || add(tally, &process->runs, process->last) ||
                 add(tally, &process->runs, -1) ||
                 add_range(tally, &process->ordinary, process->first, process->last) ||
                 add_range(tally, &process->every, process->first, process->last);
    process->first = 0;
    return failed;
}

static int
is_hexadecimal(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Return whether a message has no other escape sequences than those of quotes and backslashes: the others may be digits,
   letters, or seem to have them. */
static int
is_plain(const Header *header)
{
    const char *at = header->message.at, *end = at + header->message.size;
    for (; header->escaped && (at = memchr(at, '\\', (size_t)(end - at))) != NULL; at += 2)
        if (at[1] != '"' && at[1] != '\\')
            return 0;
    return 1;
}

/* Write the shape of a message: equal shapes have equal fingerprints (`metaexpert.logs.stats`). Digits become zeros,
   a single one where too few of them stand for an identifier. Before an x they stay: 0x begins a hexadecimal number. */
static Text
shape_of(Tally *tally, const Header *header)
{
    Text message = header->message;
    if (message.size > MOST_SHAPED || !is_plain(header))
        return message;
    char *to = tally->shapes + tally->shapes_used, *start = to;
    for (size_t i = 0; i < message.size;) {
        size_t stop = i, digits = 0;
        for (; stop < message.size && is_hexadecimal(message.at[stop]); stop++)
            digits += message.at[stop] <= '9';
        if (stop == i) {
            *to++ = message.at[i++];
            continue;
        }
        int number = stop < message.size && message.at[stop] == 'x';
        if (!number && digits == stop - i && digits <= MOST_COLLAPSED)
            *to++ = '0';
        else
            for (size_t j = i; j < stop; j++)
                *to++ = message.at[j] <= '9' && !number ? '0' : message.at[j];
        i = stop;
    }
    return (Text){start, (size_t)(to - start)};
}

static int
enlarge(Tally *tally)
{
    size_t room = tally->message_room ? tally->message_room * 2 : 256;
    Message *larger = PyMem_RawCalloc(room, sizeof(Message));
    if (larger == NULL) {
        tally->failed = 1;
        return -1;
    }
    for (size_t i = 0; i < tally->message_room; i++)
        if (tally->messages[i].shape.at != NULL) {
            size_t at = tally->messages[i].hash & (room - 1);
            while (larger[at].shape.at != NULL)
                at = (at + 1) & (room - 1);
            larger[at] = tally->messages[i];
        }
    PyMem_RawFree(tally->messages);
    tally->messages = larger;
    tally->message_room = room;
    return 0;
}

/* Return the number of a message's shape in the order of their first occurrence, and count it; -1 without memory. */
static int64_t
count_message(Tally *tally, const Header *header, int count)
{
    if (2 * tally->message_count >= tally->message_room && enlarge(tally) < 0)
        return -1;
    Text shape = shape_of(tally, header);
    uint64_t hash = 14695981039346656037ULL; /* FNV-1a */
    for (size_t i = 0; i < shape.size; i++)
        hash = (hash ^ (unsigned char)shape.at[i]) * 1099511628211ULL;
    hash ^= hash >> 32;
    size_t at = hash & (tally->message_room - 1);
    while (tally->messages[at].shape.at != NULL && !(tally->messages[at].hash == hash && same(tally->messages[at].shape, shape)))
        at = (at + 1) & (tally->message_room - 1);
    if (tally->messages[at].shape.at == NULL) {
        tally->messages[at] = (Message){shape, header->message, hash, 0, (int64_t)tally->message_count++};
        tally->shapes_used += shape.at == header->message.at ? 0 : shape.size;
    }
    tally->messages[at].count += count;
    return tally->messages[at].number;
}

static int
add_place(Tally *tally, List *list, const char *start, const char *end)
{
    const char *begin = tally->data.buf;
    return add(tally, list, start - begin) || add(tally, list, end - begin);
}

/* The values of the wanted fields in one line; NULL is one that it has not. */
typedef struct {
    const Tally *tally;
    Text values[MOST_FIELDS];
} Wanted;

static void
take_field(void *context, Text name, Text value)
{
    Wanted *wanted = context;
    for (int i = 0; i < wanted->tally->field_count; i++)
        if (same(name, wanted->tally->names[i]))
            wanted->values[i] = value; /* the last one counts */
}

/* Note the places of the values of the wanted fields, and lines in which Python has to look for them. */
static void
take_values(Tally *tally, const char *line, const char *end, const Header *header)
{
    Wanted found = {.tally = tally};
    int wanted = memchr(line, '\\', (size_t)(end - line)) != NULL; /* a name may be written with escapes */
    for (int i = 0; i < tally->field_count && !wanted; i++)
        wanted = find(&tally->needles[i], (const unsigned char *)header->message.at, (const unsigned char *)end) !=
                 (const unsigned char *)end;
    if (!wanted)
        return;
    if (!is_sound(header, end, take_field, &found)) {
        add_place(tally, &tally->unsure, line, end);
        return;
    }
    for (int i = 0; i < tally->field_count; i++)
        if (found.values[i].at != NULL && add(tally, &tally->values, i) == 0)
            add_place(tally, &tally->values, found.values[i].at, found.values[i].at + found.values[i].size);
}

/* Note a line to be told. */
static void
take_telling(Tally *tally, const char *line, const char *end)
{
    const char *begin = tally->data.buf;
    int64_t number;
    int regular = is_regular((const unsigned char *)line, (const unsigned char *)end, &number);
    if (add(tally, &tally->telling, line - begin) == 0 &&
        add(tally, &tally->telling, regular ? end - begin : begin - end) == 0)
        add(tally, &tally->telling, regular ? number : -1);
}

/* Return whether a line says something of orders, trades, errors or the logger itself, or may. */
static int
is_telling(const Tally *tally, const Header *header, const Kind *kind, const char *end)
{
    static const char own[] = "log.";
    Text message = header->message;
    if (message.size >= sizeof own - 1 && memcmp(message.at, own, sizeof own - 1) == 0)
        return 1;
    if (tally->host.at != NULL && !(same(header->host, tally->host) && same(header->pid, tally->pid)))
        return 0;
    return kind->special || has_key(&tally->keys, (const unsigned char *)message.at, (const unsigned char *)end);
}

/* Count a trade or an error: its place, where its header ends, its kind, minute and message (-1 for an error). */
static void
take_special(Tally *tally, const char *line, const char *end, const Header *header, const Kind *kind)
{
    Process *process = &tally->processes[kind->process];
    int64_t place = (int64_t)tally->specials.used / 2;
    int error = is_word(kind->level, "error") || is_word(kind->level, "critical");
    int64_t message = error || tally->keys.count ? -1 : count_message(tally, header, 0);
    const char *stop = header->number_at;
    while (*stop >= '0' && *stop <= '9')
        stop++;
    if (add_place(tally, &tally->specials, line, end) == 0 && close_run(tally, process) == 0 &&
        add(tally, &process->runs, header->number) == 0 && add(tally, &process->runs, 0) == 0 &&
        add(tally, &process->runs, place) == 0 &&
        add_range(tally, &process->every, header->number, header->number) == 0 &&
        add(tally, &tally->marks, stop - (char *)tally->data.buf) == 0 &&
        add(tally, &tally->marks, kind - tally->kinds) == 0 && add(tally, &tally->marks, tally->minute) == 0)
        add(tally, &tally->marks, message);
}

static void
count_line(Tally *tally, const char *line, const char *end)
{
    Header header;
    Text expert;
    int whole = read_header(line, end, &header) && read_expert(&header, end, &expert);
    Kind *kind = whole ? kind_of(tally, &header, expert) : NULL;
    Minute *minute = kind != NULL && !tally->keys.count ? minute_of(tally, header.time) : NULL;
    int odd = tally->keys.count ? kind == NULL : minute == NULL;
    if (odd)
        add_place(tally, &tally->odd, line, end);
    if (tally->keys.count && (odd || is_telling(tally, &header, kind, end)))
        take_telling(tally, line, end);
    if (odd)
        return;
    if (tally->low == NULL || memcmp(header.time, tally->low, TIME) < 0)
        tally->low = header.time;
    if (tally->high == NULL || memcmp(header.time, tally->high, TIME) > 0)
        tally->high = header.time;
    tally->back |= tally->latest != NULL && memcmp(header.time, tally->latest, SECOND) < 0;
    tally->latest = header.time;
    if (tally->strict && !is_sound(&header, end, NULL, NULL)) /* Python has to judge it */
        add_place(tally, &tally->unsure, line, end);
    if (kind->special) {
        take_special(tally, line, end, &header, kind);
        return;
    }
    if (tally->field_count)
        take_values(tally, line, end, &header);
    Process *process = &tally->processes[kind->process];
    if (process->first == 0 || header.number != process->last + 1) {
        if (close_run(tally, process) < 0)
            return;
        process->first = header.number;
    }
    process->last = header.number;
    kind->count++;
    if (minute == NULL)
        return;
    minute->count++;
    count_message(tally, &header, 1);
}

void
count_lines(Tally *tally)
{
    const char *line = tally->data.buf, *end = line + tally->data.len;
    while (line < end && !tally->failed) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        stop = stop == NULL ? end : stop;
        if (stop > line)
            count_line(tally, line, stop);
        line = stop + 1;
        if (stop == end)
            break;
    }
    for (int i = 0; i < tally->process_count && !tally->failed; i++)
        close_run(tally, &tally->processes[i]);
}
