/* The header of a line as our writer writes it, and whether the rest of the line is certainly sound. */

#include "core.h"
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { MOST_DEPTH = 64 };

#define LITERAL(text) take(&at, end, text, sizeof text - 1)

static inline int
take(const char **at, const char *end, const char *text, size_t size)
{
    if ((size_t)(end - *at) < size || memcmp(*at, text, size) != 0)
        return 0;
    *at += size;
    return 1;
}

/* Take characters up to a quote, which stays; none may be escaped. */
static int
take_text(const char **at, const char *end, Text *text)
{
    const char *start = *at; /* these texts are short: a loop is faster than a search */
    while (*at < end && **at != '"' && **at != '\\')
        (*at)++;
    *text = (Text){start, (size_t)(*at - start)};
    return *at < end && **at == '"';
}

static int
take_digits(const char **at, const char *end, int most, int64_t *number)
{
    const char *start = *at;
    *number = 0;
    while (*at < end && **at >= '0' && **at <= '9' && *at - start < most)
        *number = *number * 10 + *(*at)++ - '0';
    return *at > start;
}

static int
is_time(const char *at)
{
    static const char form[] = "0000-00-00T00:00:00.000000";
    for (int i = 0; i < TIME; i++)
        if (form[i] == '0' ? at[i] < '0' || at[i] > '9' : at[i] != form[i])
            return 0;
    return 1;
}

static int
take_message(const char **at, const char *end, Header *header)
{
    const char *start = *at;
    for (; *at < end && **at != '"'; (*at)++)
        if (**at == '\\') {
            header->escaped = 1;
            (*at)++;
        }
    if (*at >= end)
        return 0;
    header->message = (Text){start, (size_t)(*at - start)};
    return 1;
}

int
read_header(const char *at, const char *end, Header *header)
{
    int64_t ignored;
    header->escaped = 0;
    if (end[-1] != '}' || !LITERAL("{\"timestamp\":\"") || end - at < TIME || !is_time(at))
        return 0;
    header->time = at;
    at += TIME;
    if (!LITERAL("Z\",\"level\":\"") || !take_text(&at, end, &header->level) || !LITERAL("\","))
        return 0;
    header->head.at = at;
    if (!LITERAL("\"severity\":") || !take_digits(&at, end, 1, &ignored) || !LITERAL(",\"facility\":") ||
        !take_digits(&at, end, 2, &ignored) || !LITERAL(",\"version\":1,\"hostname\":\"") ||
        !take_text(&at, end, &header->host) || !LITERAL("\",\"appname\":\"") ||
        !take_text(&at, end, &header->appname) || !LITERAL("\",\"procid\":\"") || !take_text(&at, end, &header->pid) || !LITERAL("\",\"msgid\":\"") ||
        !take_text(&at, end, &header->msgid) || !LITERAL("\""))
        return 0;
    header->head.size = (size_t)(at - header->head.at);
    header->number_at = at + sizeof ",\"sequence_id\":" - 1;
    return LITERAL(",\"sequence_id\":") && take_digits(&at, end, 18, &header->number) && header->number > 0 &&
           LITERAL(",\"message\":\"") && take_message(&at, end, header) && end - at >= 2 &&
           (at[1] == ',' || at + 2 == end);
}

int
read_expert(const Header *header, const char *end, Text *expert)
{
    static const char name[] = "\"expert_name\":";
    static const Needle needle = {(const unsigned char *)name, sizeof name - 1, 2, 3, 0, NULL}; /* x and p are rare */
    const char *at = header->message.at + header->message.size + 2, *begin = at;
    Text ignored;
    *expert = (Text){end, 0};
    if (LITERAL("\"logger\":\"") && !(take_text(&at, end, &ignored) && LITERAL("\",")))
        at = begin;
    int inside = at == begin && LITERAL("\"structured_data\":{");
    const char *hit = at;
    if (inside || !take(&hit, end, name, sizeof name - 1)) {
        hit = (const char *)find(&needle, (const unsigned char *)begin, (const unsigned char *)end);
        if (hit == end)
            return 1;
        hit += sizeof name - 1;
        if (!inside)
            return 0;
    }
    return take(&hit, end, "\"", 1) && take_text(&hit, end, expert) && expert->size > 0;
}

/* -- soundness ---------------------------------------------------------------------------------------------------- */

/* Each function returns the end of what begins at *at*, or NULL for what is not JSON, or so unusual that Python judges
   it: white space, escaped characters, exponents, deep nesting. */

/* Return the first byte from *at* on that is no plain character of a text: a quote, a backslash, a control character, or
   one beyond ASCII. */
static inline const char *
skip_plain(const char *at, const char *end)
{
#ifdef __SSE2__
    const __m128i quotes = _mm_set1_epi8('"'), slashes = _mm_set1_epi8('\\'), spaces = _mm_set1_epi8(' ');
    for (; end - at >= 16; at += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)at);
        __m128i ends = _mm_or_si128(_mm_cmpeq_epi8(bytes, quotes), _mm_cmpeq_epi8(bytes, slashes));
        /* Compared with signs, the bytes beyond ASCII are below a space too. */
        unsigned int mask = (unsigned int)_mm_movemask_epi8(_mm_or_si128(ends, _mm_cmplt_epi8(bytes, spaces)));
        if (mask)
            return at + __builtin_ctz(mask);
    }
#endif
    while (at < end && *at != '"' && *at != '\\' && (unsigned char)*at >= 0x20 && (unsigned char)*at < 0x80)
        at++;
    return at;
}

static const char *
skip_text(const char *at, const char *end)
{
    if (at == end || *at++ != '"')
        return NULL;
    while ((at = skip_plain(at, end)) < end) {
        unsigned char byte = (unsigned char)*at;
        if (byte == '"')
            return at + 1;
        if (byte == '\\') {
            if (end - at < 2 || at[1] == 0 || strchr("\"\\/bfnrt", at[1]) == NULL)
                return NULL;
            at += 2;
        }
        else if (byte < 0x20)
            return NULL;
        else {
            int size = sequence_size((const unsigned char *)at, (const unsigned char *)end);
            if (size == 0)
                return NULL;
            at += size;
        }
    }
    return NULL;
}

static const char *
skip_digits(const char *at, const char *end)
{
    const char *start = at;
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return at > start ? at : NULL;
}

static const char *
skip_number(const char *at, const char *end)
{
    at += at < end && *at == '-';
    const char *start = at;
    at = skip_digits(at, end);
    if (at == NULL || (*start == '0' && at - start > 1))
        return NULL;
    if (at < end && *at == '.')
        at = skip_digits(at + 1, end);
    return at == NULL || (at < end && (*at == 'e' || *at == 'E')) ? NULL : at;
}

static const char *skip_value(const char *at, const char *end, int depth);

static const char *
skip_items(const char *at, const char *end, int depth, char close)
{
    if (depth == 0)
        return NULL;
    if (at < end && *at == close)
        return at + 1;
    while (at < end) {
        if (close == '}') {
            at = skip_text(at, end);
            if (at == NULL || at == end || *at++ != ':')
                return NULL;
        }
        at = skip_value(at, end, depth - 1);
        if (at == NULL || at == end)
            return NULL;
        if (*at == close)
            return at + 1;
        if (*at++ != ',')
            return NULL;
    }
    return NULL;
}

static const char *
skip_value(const char *at, const char *end, int depth)
{
    if (at == end)
        return NULL;
    switch (*at) {
    case '"':
        return skip_text(at, end);
    case '{':
    case '[':
        return skip_items(at + 1, end, depth, *at == '{' ? '}' : ']');
    case 't':
        return LITERAL("true") ? at : NULL;
    case 'f':
        return LITERAL("false") ? at : NULL;
    case 'n':
        return LITERAL("null") ? at : NULL;
    default:
        return skip_number(at, end);
    }
}

/* Return whether a name is one of ours, which has a meaning or may not be there twice. */
static int
is_ours(Text name)
{
    static const char *const names[] = {
        "timestamp", "level", "severity", "facility", "version", "hostname", "appname", "procid",
        "msgid", "sequence_id", "message", "exception", "stack", "structured_data",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (*names[i] == *name.at && is_word(name, names[i])) /* an empty name has a quote there */
            return 1;
    return 0;
}

static int
is_date(const char *time)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int field[6], places[] = {0, 5, 8, 11, 14, 17};
    for (int i = 0; i < 6; i++)
        field[i] = (time[places[i]] - '0') * 10 + time[places[i] + 1] - '0';
    int year = field[0] * 100 + (time[2] - '0') * 10 + time[3] - '0';
    if (year < 1 || field[1] < 1 || field[1] > 12)
        return 0;
    int leap = field[1] == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return field[2] >= 1 && field[2] <= days[field[1] - 1] + leap && field[3] < 24 && field[4] < 60 && field[5] < 60;
}

/* Return whether it is a header field of RFC 5424: printable ASCII without spaces. */
static int
is_name(Text text, size_t limit)
{
    for (size_t i = 0; i < text.size; i++)
        if (text.at[i] < '!' || text.at[i] > '~')
            return 0;
    return text.size > 0 && text.size <= limit;
}

static int
is_severity(Text level, char digit)
{
    return digit == (is_word(level, "debug")     ? '7'
                     : is_word(level, "info")    ? '6'
                     : is_word(level, "warning") ? '4'
                     : is_word(level, "error")   ? '3'
                                                 : '2');
}

static int
is_sound_header(const Header *header)
{
    const char *facility = header->head.at + sizeof "\"severity\":6,\"facility\":" - 1;
    int two = facility[1] != ',';
    return is_date(header->time) && is_severity(header->level, header->head.at[sizeof "\"severity\":" - 1]) &&
           (!two || facility[0] == '1' || (facility[0] == '2' && facility[1] <= '3')) && is_name(header->host, 255) &&
           is_name(header->appname, 48) && is_name(header->pid, 128) && is_name(header->msgid, 32) &&
           *header->number_at != '0';
}

int
is_sound(const Header *header, const char *end, TakeField take, void *context)
{
    const char *at = header->message.at - 1;
    if (!is_sound_header(header) || (at = skip_text(at, end)) == NULL)
        return 0;
    while (at < end && *at == ',') {
        const char *name = ++at;
        at = skip_text(at, end);
        if (at == NULL || at == end || *at++ != ':')
            return 0;
        Text text = {name + 1, (size_t)(at - name) - 3};
        if (memchr(text.at, '\\', text.size) != NULL || is_ours(text) || (is_word(text, "logger") && *at != '"'))
            return 0;
        const char *value = at;
        at = skip_value(at, end, MOST_DEPTH);
        if (at == NULL)
            return 0;
        if (take != NULL)
            take(context, text, (Text){value, (size_t)(at - value)});
    }
    return at + 1 == end && *at == '}';
}

/* -- single lines ------------------------------------------------------------------------------------------------- */

/* Return the header of a line that certainly is a sound entry, and neither a trade nor an error; otherwise 0. */
static int
read_ordinary(const char *line, const char *end, Header *header, TakeField take, void *context)
{
    return end > line && read_header(line, end, header) && !is_word(header->level, "error") &&
           !is_word(header->level, "critical") && !is_word(header->msgid, "trade") &&
           is_sound(header, end, take, context);
}

static PyObject *
is_ordinary(PyObject *Py_UNUSED(module), PyObject *line)
{
    Header header;
    if (!PyBytes_CheckExact(line))
        return PyErr_Format(PyExc_TypeError, "a line is bytes");
    const char *start = PyBytes_AS_STRING(line);
    return PyBool_FromLong(read_ordinary(start, start + PyBytes_GET_SIZE(line), &header, NULL, NULL));
}

enum { MOST_DIGITS = 18 }; /* a longer integer may be no 64-bit one */

/* The names and kinds of fields, one in a row; no longer than the line. */
typedef struct {
    char *to;
    int unsure;
} Kinds;

char
kind_of_value(Text value)
{
    switch (value.at[0]) {
    case '"':
        return 's';
    case '{':
    case '[':
        return 'j';
    case 't':
    case 'f':
        return 'b';
    case 'n':
        return 'n';
    default:
        return memchr(value.at, '.', value.size) != NULL ? 'f' : value.size > MOST_DIGITS ? 0 : 'i';
    }
}

static void
put_kind(void *context, Text name, Text value)
{
    Kinds *kinds = context;
    char kind = kind_of_value(value);
    kinds->unsure |= kind == 0;
    memcpy(kinds->to, name.at, name.size);
    kinds->to += name.size;
    *kinds->to++ = '\t';
    *kinds->to++ = kind;
    *kinds->to++ = '\n';
}

static PyObject *
kinds_of(PyObject *Py_UNUSED(module), PyObject *line)
{
    Header header;
    if (!PyBytes_CheckExact(line))
        return PyErr_Format(PyExc_TypeError, "a line is bytes");
    const char *start = PyBytes_AS_STRING(line);
    char *room = PyMem_Malloc((size_t)PyBytes_GET_SIZE(line) + 1);
    if (room == NULL)
        return PyErr_NoMemory();
    Kinds kinds = {room, 0};
    int sound = read_ordinary(start, start + PyBytes_GET_SIZE(line), &header, put_kind, &kinds);
    PyObject *result = sound && !kinds.unsure ? PyBytes_FromStringAndSize(room, kinds.to - room) : Py_NewRef(Py_None);
    PyMem_Free(room);
    return result;
}

PyMethodDef header_functions[] = {
    {"is_ordinary", is_ordinary, METH_O,
     "is_ordinary(line): return whether it certainly is a sound entry, and neither a trade nor an error."},
    {"kinds_of", kinds_of, METH_O,
     "kinds_of(line): return names and kinds of the fields behind the message of such a line; None for any other."},
    {0},
};
