/* Counts of whole lines by their headers, for statistics. The counterpart of `logs/reading/tally.py`.

   Lines whose header is exactly our writer's are counted here, without decoding and without the interpreter lock: by
   level and process, by minute, by message, and their numbers in runs. Trades and errors, which may be copies, and all
   other lines are handed back as places. */

#include "core.h"

enum {
    MOST_KINDS = 128,
    MOST_PROCESSES = 64,
    MOST_MINUTES = 512,
    MINUTE = 16,           /* 2026-11-22T10:31 */
    SECOND = 19,
    MOST_SHAPED = 200,     /* a longer message is its own shape: quoted parts are replaced up to 200 characters */
    MOST_COLLAPSED = 3,    /* so many digits in a row belong to no identifier of a fixed length */
};

/* A growing list of numbers. */
typedef struct {
    int64_t *items;
    size_t used, room;
} List;

/* A level and a process, as they are in a line. */
typedef struct {
    Text level, head;
    int process, special;
    int64_t count;
} Kind;

/* Its runs are first number, last number, -1 for ordinary lines, and number, 0, place in the specials for others. */
typedef struct {
    Text host, pid;
    List runs;
    int64_t first, last; /* of the open run; none when first is 0 */
} Process;

typedef struct {
    Text minute;
    int64_t count;
} Minute;

typedef struct {
    Text shape, raw;
    uint64_t hash;
    int64_t count;
} Message;

typedef struct {
    Py_buffer data;
    Kind kinds[MOST_KINDS];
    Process processes[MOST_PROCESSES];
    Minute minutes[MOST_MINUTES];
    int kind_count, process_count, minute_count, minute, failed;
    Message *messages;     /* a hash table with open addressing */
    size_t message_count, message_room;
    char *shapes;          /* no longer than all data */
    size_t shapes_used;
    List specials, odd, unsure;
    const char *latest;    /* the time of the line before; NULL at first */
    int strict, back;
} Tally;

static int
add(Tally *tally, List *list, int64_t item)
{
    if (list->used == list->room) {
        size_t room = list->room ? list->room * 2 : 64;
        int64_t *larger = PyMem_RawRealloc(list->items, room * sizeof(int64_t));
        if (larger == NULL) {
            tally->failed = 1;
            return -1;
        }
        list->items = larger;
        list->room = room;
    }
    list->items[list->used++] = item;
    return 0;
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
kind_of(Tally *tally, const Header *header)
{
    for (int i = 0; i < tally->kind_count; i++)
        if (same(tally->kinds[i].head, header->head) && same(tally->kinds[i].level, header->level))
            return &tally->kinds[i];
    Text level = header->level;
    int error = is_word(level, "error") || is_word(level, "critical");
    if (!error && !is_word(level, "debug") && !is_word(level, "info") && !is_word(level, "warning"))
        return NULL;
    int process = tally->kind_count < MOST_KINDS ? process_of(tally, header) : -1;
    if (process < 0)
        return NULL;
    Kind *kind = &tally->kinds[tally->kind_count++];
    *kind = (Kind){level, header->head, process, error || is_word(header->msgid, "trade"), 0};
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
close_run(Tally *tally, Process *process)
{
    if (process->first == 0)
        return 0;
    int failed = add(tally, &process->runs, process->first) || add(tally, &process->runs, process->last) ||
                 add(tally, &process->runs, -1);
    process->first = 0;
    return failed;
}

static int
is_hexadecimal(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Write the shape of a message: equal shapes have equal fingerprints (`metaexpert.logs.stats`). Digits become zeros,
   a single one where too few of them stand for an identifier. Before an x they stay: 0x begins a hexadecimal number. */
static Text
shape_of(Tally *tally, const Header *header)
{
    Text message = header->message;
    if (header->escaped || message.size > MOST_SHAPED)
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
        if (tally->messages[i].count) {
            size_t at = tally->messages[i].hash & (room - 1);
            while (larger[at].count)
                at = (at + 1) & (room - 1);
            larger[at] = tally->messages[i];
        }
    PyMem_RawFree(tally->messages);
    tally->messages = larger;
    tally->message_room = room;
    return 0;
}

static void
count_message(Tally *tally, const Header *header)
{
    if (2 * tally->message_count >= tally->message_room && enlarge(tally) < 0)
        return;
    Text shape = shape_of(tally, header);
    uint64_t hash = 14695981039346656037ULL; /* FNV-1a */
    for (size_t i = 0; i < shape.size; i++)
        hash = (hash ^ (unsigned char)shape.at[i]) * 1099511628211ULL;
    hash ^= hash >> 32;
    size_t at = hash & (tally->message_room - 1);
    while (tally->messages[at].count && !(tally->messages[at].hash == hash && same(tally->messages[at].shape, shape)))
        at = (at + 1) & (tally->message_room - 1);
    if (tally->messages[at].count == 0) {
        tally->messages[at] = (Message){shape, header->message, hash, 0};
        tally->message_count++;
        tally->shapes_used += shape.at == header->message.at ? 0 : shape.size;
    }
    tally->messages[at].count++;
}

/* Note what only a closer look needs: whether the time goes back by seconds, and lines that Python has to judge. */
static void
check_line(Tally *tally, const char *line, const char *end, const Header *header)
{
    tally->back |= tally->latest != NULL && memcmp(header->time, tally->latest, SECOND) < 0;
    tally->latest = header->time;
    if (!is_sound(header, end) && add(tally, &tally->unsure, line - (const char *)tally->data.buf) == 0)
        add(tally, &tally->unsure, end - (const char *)tally->data.buf);
}

static void
count_line(Tally *tally, const char *line, const char *end)
{
    const char *begin = tally->data.buf;
    Header header;
    Kind *kind = read_header(line, end, &header) ? kind_of(tally, &header) : NULL;
    Minute *minute = kind != NULL && !kind->special ? minute_of(tally, header.time) : NULL;
    if (kind == NULL || (minute == NULL && !kind->special)) {
        if (add(tally, &tally->odd, line - begin) == 0)
            add(tally, &tally->odd, end - begin);
        return;
    }
    if (tally->strict)
        check_line(tally, line, end, &header);
    Process *process = &tally->processes[kind->process];
    if (kind->special) {
        int64_t place = (int64_t)tally->specials.used / 2;
        if (add(tally, &tally->specials, line - begin) == 0 && add(tally, &tally->specials, end - begin) == 0 &&
            close_run(tally, process) == 0 && add(tally, &process->runs, header.number) == 0 &&
            add(tally, &process->runs, 0) == 0)
            add(tally, &process->runs, place);
        return;
    }
    if (process->first == 0 || header.number != process->last + 1) {
        if (close_run(tally, process) < 0)
            return;
        process->first = header.number;
    }
    process->last = header.number;
    kind->count++;
    minute->count++;
    count_message(tally, &header);
}

static void
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

/* -- the result --------------------------------------------------------------------------------------------------- */

static PyObject *
bytes_of(const List *list)
{
    return PyBytes_FromStringAndSize((const char *)list->items, (Py_ssize_t)(list->used * sizeof(int64_t)));
}

/* Append a new object, which may be NULL for an error. */
static int
append(PyObject *list, PyObject *item)
{
    int result = item == NULL ? -1 : PyList_Append(list, item);
    Py_XDECREF(item);
    return result;
}

#define TEXT(text) (text).at, (Py_ssize_t)(text).size

static PyObject *
result_of(const Tally *tally)
{
    PyObject *kinds = PyList_New(0), *runs = PyList_New(0), *minutes = PyList_New(0), *messages = PyList_New(0);
    int failed = kinds == NULL || runs == NULL || minutes == NULL || messages == NULL;
    for (int i = 0; i < tally->kind_count && !failed; i++) {
        const Kind *kind = &tally->kinds[i];
        failed = append(kinds, Py_BuildValue("y#y#L", TEXT(kind->level), TEXT(kind->head), (long long)kind->count));
    }
    for (int i = 0; i < tally->process_count && !failed; i++) {
        const Process *process = &tally->processes[i];
        PyObject *numbers = bytes_of(&process->runs);
        failed = append(runs, Py_BuildValue("y#y#N", TEXT(process->host), TEXT(process->pid), numbers));
    }
    for (int i = 0; i < tally->minute_count && !failed; i++) {
        const Minute *minute = &tally->minutes[i];
        failed = append(minutes, Py_BuildValue("y#L", TEXT(minute->minute), (long long)minute->count));
    }
    for (size_t i = 0; i < tally->message_room && !failed; i++) {
        const Message *message = &tally->messages[i];
        if (message->count)
            failed = append(messages, Py_BuildValue("y#y#L", TEXT(message->shape), TEXT(message->raw),
                                                    (long long)message->count));
    }
    if (!failed)
        return Py_BuildValue("NNNNNNNy#O", kinds, runs, minutes, messages, bytes_of(&tally->specials),
                             bytes_of(&tally->odd), bytes_of(&tally->unsure), tally->latest ? tally->latest : "",
                             (Py_ssize_t)(tally->latest ? TIME : 0), tally->back ? Py_True : Py_False);
    Py_XDECREF(kinds);
    Py_XDECREF(runs);
    Py_XDECREF(minutes);
    Py_XDECREF(messages);
    return NULL;
}

static PyObject *
tally_lines(PyObject *Py_UNUSED(module), PyObject *args)
{
    Tally *tally = PyMem_RawCalloc(1, sizeof *tally);
    PyObject *result = NULL;
    if (tally == NULL)
        return PyErr_NoMemory();
    if (PyArg_ParseTuple(args, "y*p", &tally->data, &tally->strict)) {
        Py_BEGIN_ALLOW_THREADS
        tally->shapes = PyMem_RawMalloc((size_t)tally->data.len + 1);
        tally->failed = tally->shapes == NULL;
        count_lines(tally);
        Py_END_ALLOW_THREADS
        result = tally->failed ? PyErr_NoMemory() : result_of(tally);
        PyBuffer_Release(&tally->data);
    }
    for (int i = 0; i < tally->process_count; i++)
        PyMem_RawFree(tally->processes[i].runs.items);
    PyMem_RawFree(tally->specials.items);
    PyMem_RawFree(tally->odd.items);
    PyMem_RawFree(tally->unsure.items);
    PyMem_RawFree(tally->messages);
    PyMem_RawFree(tally->shapes);
    PyMem_RawFree(tally);
    return result;
}

PyMethodDef tally_functions[] = {
    {"tally", tally_lines, METH_VARARGS, "tally(data, strict): return counts of lines; see logs/reading/tally.py."},
    {0},
};
