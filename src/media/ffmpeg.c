/* SPDX-License-Identifier: Apache-2.0
 *
 * FFmpeg's libraries, confined: they run in a process of their own (confine.h), read one file through the functions
 * below and can open no other, whatever a playlist in it says; one thread; pictures above the ceiling are refused
 * before they are allocated. */
#if defined(GEM_FFMPEG)
#include "media/confine.h"
#include "media/resample.h"
#include "media/sound.h"
#include "media/video.h"

#include "base/file.h"
#include "base/memory.h"

#include <errno.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/display.h>
#include <libswscale/swscale.h>
#include <math.h>
#include <unistd.h>

/* A file in memory, or by its descriptor. */
struct input {
    const uint8_t *bytes;
    int fd;
    int64_t n, at;
};

struct reader {
    const char *name;
    struct input input;
    AVIOContext *io;
    AVFormatContext *format;
    AVCodecContext *codec;
    AVPacket *packet;
    AVFrame *frame;
    struct SwsContext *scaler;
    int stream;
    uint32_t orientation;
    gem_error *err;
};

static int read_input(void *opaque, uint8_t *out, int n)
{
    struct input *in = opaque;
    const int64_t left = in->n - in->at;
    ssize_t got = left < n ? (ssize_t)left : n;

    if (got <= 0) return AVERROR_EOF;
    if (in->bytes)
        memcpy(out, in->bytes + in->at, (size_t)got);
    else if ((got = pread(in->fd, out, (size_t)got, (off_t)in->at)) <= 0)
        return got < 0 ? AVERROR(errno) : AVERROR_EOF;
    in->at += got;
    return (int)got;
}

static int64_t seek_input(void *opaque, int64_t offset, int whence)
{
    struct input *in = opaque;

    if (whence & AVSEEK_SIZE) return in->n;
    whence &= ~AVSEEK_FORCE;
    if (whence == SEEK_CUR) offset += in->at;
    if (whence == SEEK_END) offset += in->n;
    if (offset < 0 || offset > in->n) return AVERROR(EINVAL);
    return in->at = offset;
}

static int refuse_open(AVFormatContext *s, AVIOContext **io, const char *url, int flags, AVDictionary **options)
{
    (void)s;
    (void)io;
    (void)url;
    (void)flags;
    (void)options;
    return AVERROR(EACCES);
}

static gem_status fail(const struct reader *r, const char *what, int code)
{
    char why[AV_ERROR_MAX_STRING_SIZE] = "";

    if (code == AVERROR(ENOMEM)) return gem_fail(r->err, GEM_E_NOMEM, 0, "%s: out of memory while %s", r->name, what);
    av_strerror(code, why, sizeof why);
    return gem_fail(r->err, GEM_E_FORMAT, 0, "%s: error while %s: %s", r->name, what, why);
}

/* Containers, pictures and sounds; no playlists and no lists of files. */
static const char formats[] =
    "mov,matroska,webm,avi,mpegts,mpeg,mpegvideo,h264,hevc,av1,flv,ogg,asf,ivf,m4v,mjpeg,gif,apng,"
    "wav,w64,mp3,aac,flac,aiff,au,caf,amr,amrnb,amrwb,ac3,eac3,wv,tta,"
    "webp_pipe,bmp_pipe,tiff_pipe,gif_pipe,jpeg_pipe,jpegls_pipe,png_pipe,pbm_pipe,pgm_pipe,"
    "ppm_pipe,pam_pipe,psd_pipe,qoi_pipe,j2k_pipe,jpegxl_pipe";

static gem_status open_format(struct reader *r)
{
    enum { BUFFER = 32768 };
    uint8_t *buffer = av_malloc(BUFFER);
    AVDictionary *options = NULL;
    int code;

    av_log_set_level(AV_LOG_QUIET); /* a library never prints; FFmpeg knows no smaller scope for this */

    if (!buffer) return fail(r, "opening it", AVERROR(ENOMEM));
    r->io = avio_alloc_context(buffer, BUFFER, 0, &r->input, read_input, NULL, seek_input);
    if (!r->io) av_free(buffer);
    if (!r->io || !(r->format = avformat_alloc_context())) return fail(r, "opening it", AVERROR(ENOMEM));
    r->format->pb = r->io;
    r->format->io_open = refuse_open;
    av_dict_set(&options, "format_whitelist", formats, 0);
    code = avformat_open_input(&r->format, "", NULL, &options);
    av_dict_free(&options);
    if (code < 0) return fail(r, "opening it", code);
    if ((code = avformat_find_stream_info(r->format, NULL)) < 0) return fail(r, "looking for streams", code);
    return GEM_OK;
}

/* Cameras note how they were held. */
static uint32_t find_orientation(const AVStream *s)
{
    const int32_t *matrix = (const int32_t *)(const void *)av_stream_get_side_data(s, AV_PKT_DATA_DISPLAYMATRIX, NULL);
    const double turn = matrix ? av_display_rotation_get(matrix) : 0; /* counterclockwise */
    const long quarters = isnan(turn) ? 0 : (lround(turn / 90) % 4 + 4) % 4;
    static const uint32_t orientations[] = {1, 8, 3, 6};

    return orientations[quarters];
}

static gem_status open_codec(struct reader *r, enum AVMediaType type)
{
    const AVCodec *codec = NULL;
    AVStream *s;
    int code;

    r->stream = av_find_best_stream(r->format, type, -1, -1, &codec, 0);
    if (r->stream < 0 || !codec)
        return gem_fail(r->err, GEM_E_FORMAT, 0, "%s: no %s in it that FFmpeg decodes", r->name,
                        type == AVMEDIA_TYPE_AUDIO ? "sound" : "picture");
    s = r->format->streams[r->stream];
    r->orientation = find_orientation(s);
    if (!(r->codec = avcodec_alloc_context3(codec)) || !(r->packet = av_packet_alloc()) ||
        !(r->frame = av_frame_alloc()))
        return fail(r, "opening the decoder", AVERROR(ENOMEM));
    if ((code = avcodec_parameters_to_context(r->codec, s->codecpar)) < 0) return fail(r, "opening the decoder", code);
    r->codec->thread_count = 1;
    r->codec->max_pixels = GEM_IMAGE_MAX_PIXELS;
    if ((code = avcodec_open2(r->codec, codec, NULL)) < 0) return fail(r, "opening the decoder", code);
    return GEM_OK;
}

static void close_reader(struct reader *r)
{
    sws_freeContext(r->scaler);
    av_frame_free(&r->frame);
    av_packet_free(&r->packet);
    avcodec_free_context(&r->codec);
    avformat_close_input(&r->format);
    if (r->io) av_freep(&r->io->buffer);
    avio_context_free(&r->io);
}

/* The next frame into r->frame; *end: there is none. */
static gem_status next_frame(struct reader *r, bool *end)
{
    int code;

    *end = false;
    while ((code = avcodec_receive_frame(r->codec, r->frame)) == AVERROR(EAGAIN)) {
        do {
            av_packet_unref(r->packet);
            code = av_read_frame(r->format, r->packet);
        } while (code >= 0 && r->packet->stream_index != r->stream);
        if (code < 0 && code != AVERROR_EOF) return fail(r, "reading", code);
        code = avcodec_send_packet(r->codec, code < 0 ? NULL : r->packet);
        av_packet_unref(r->packet);
        if (code < 0 && code != AVERROR_EOF) return fail(r, "decoding", code);
    }
    *end = code == AVERROR_EOF;
    return code < 0 && !*end ? fail(r, "decoding", code) : GEM_OK;
}

/* r->frame as upright RGB. */
static gem_status take_frame(struct reader *r, struct gem_image *image)
{
    const AVFrame *f = r->frame;
    const int w = f->width, h = f->height;
    uint8_t *planes[4] = {NULL};
    int strides[4] = {3 * w}, code;
    gem_status st;

    if (w <= 0 || h <= 0) return gem_fail(r->err, GEM_E_FORMAT, 0, "%s: a frame of %d x %d pixels", r->name, w, h);
    if ((st = gem_image_make(image, r->name, (uint64_t)w, (uint64_t)h, r->err))) return st;
    r->scaler = sws_getCachedContext(r->scaler, w, h, (enum AVPixelFormat)f->format, w, h, AV_PIX_FMT_RGB24,
                                     SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT, NULL, NULL, NULL);
    planes[0] = image->rgb;
    code = r->scaler ? sws_scale(r->scaler, (const uint8_t *const *)f->data, f->linesize, 0, h, planes, strides)
                     : AVERROR(EINVAL);
    st = code == h ? gem_image_orient(image, r->orientation, r->name, r->err) : fail(r, "converting colours", code);
    if (st) gem_image_close(image);
    return st;
}

/* ---- videos ------------------------------------------------------------------------------------------------------ */

/* Frames of the stream: decoding them all is the only count that every kind of file gives right. */
static gem_status count_frames(struct reader *r, uint64_t *n)
{
    bool end = false;
    gem_status st;

    for (*n = 0; !(st = next_frame(r, &end)) && !end; ++*n) av_frame_unref(r->frame);
    if (st) return st;
    if (*n == 0) return gem_fail(r->err, GEM_E_FORMAT, 0, "%s: a video without frames", r->name);
    return GEM_OK;
}

static double frame_rate(const struct reader *r)
{
    const double rate = av_q2d(r->format->streams[r->stream]->avg_frame_rate);

    return rate > 0 && rate < 1e6 ? rate : 24; /* as the reference where the file does not say */
}

static gem_status give_frames(struct reader *r, const struct gem_video_request *q, uint64_t total,
                              gem_frame_fn *on_frame, void *user)
{
    const double rate = frame_rate(r);
    const uint64_t n = gem_video_count(total, rate, q->n_frames, q->fps);
    uint64_t done = 0;
    bool end = false;
    gem_status st = GEM_OK;

    for (uint64_t at = 0; done < n && !st; at++) {
        struct gem_image image;
        if ((st = next_frame(r, &end)) || end) break;
        if (at == gem_video_index(total, n, done)) {
            if ((st = take_frame(r, &image))) break;
            st = on_frame(user, &image, (double)at / rate, r->err);
            gem_image_close(&image);
            done++;
        }
        av_frame_unref(r->frame);
    }
    if (!st && done < n) st = gem_fail(r->err, GEM_E_IO, 0, "%s: changed while it was read", r->name);
    return st;
}

static gem_status lost(const char *name, gem_error *err)
{
    return gem_fail(err, GEM_E_IO, 0, "%s: nobody reads what is decoded", name);
}

static gem_status send_image(const struct gem_outlet *out, const char *name, const struct gem_image *image,
                             double seconds, gem_error *err)
{
    const struct gem_parcel parcel = {.width = image->width,
                                      .height = image->height,
                                      .seconds = seconds,
                                      .n_bytes = (uint64_t)image->width * image->height * 3};

    return gem_outlet_send(out, &parcel, image->rgb) ? GEM_OK : lost(name, err);
}

/* A picture that came from a child, which may have become anything. */
static gem_status check_image(const struct gem_parcel *p, const char *name, gem_error *err)
{
    if (p->width > 0 && p->height > 0 && p->width <= GEM_IMAGE_MAX_SIDE && p->height <= GEM_IMAGE_MAX_SIDE &&
        (uint64_t)p->width * p->height <= GEM_IMAGE_MAX_PIXELS && p->n_bytes == (uint64_t)p->width * p->height * 3 &&
        p->seconds >= 0 && p->seconds < 1e9)
        return GEM_OK;
    return gem_fail(err, GEM_E_FORMAT, 0, "%s: what was decoded is no picture", name);
}

/* What a child decodes: a file that is open, or bytes. */
struct job {
    const char *name;
    struct input input;
    const struct gem_video_request *request; /* of a video */
};

struct viewer {
    const char *name;
    gem_frame_fn *on_frame;
    void *user;
    uint32_t n;
};

struct sender {
    const struct gem_outlet *out;
    const char *name;
};

static gem_status send_frame(void *user, const struct gem_image *image, double seconds, gem_error *err)
{
    const struct sender *s = user;

    return send_image(s->out, s->name, image, seconds, err);
}

static gem_status decode_video(void *context, const struct gem_outlet *out, gem_error *err)
{
    const struct job *job = context;
    struct sender sender = {.out = out, .name = job->name};
    uint64_t total = 0;
    gem_status st = GEM_OK;

    for (int pass = 0; pass < 2 && !st; pass++) { /* a fresh reader each: not every file can be wound back */
        struct reader r = {.name = job->name, .err = err, .input = job->input};
        if (!(st = open_format(&r)) && !(st = open_codec(&r, AVMEDIA_TYPE_VIDEO)))
            st = pass ? give_frames(&r, job->request, total, send_frame, &sender) : count_frames(&r, &total);
        close_reader(&r);
    }
    return st;
}

static gem_status take_parcel(void *user, const struct gem_parcel *p, const void *data, gem_error *err)
{
    struct viewer *v = user;
    const struct gem_image image = {.rgb = (uint8_t *)(uintptr_t)data, .width = p->width, .height = p->height};
    const gem_status st = check_image(p, v->name, err);

    if (st) return st;
    if (v->n++ == GEM_VIDEO_MAX_FRAMES)
        return gem_fail(err, GEM_E_FORMAT, 0, "%s: more frames than were asked for", v->name);
    return v->on_frame(v->user, &image, p->seconds, err);
}

enum { MAX_FRAME_SAMPLES = 1 << 22 };

static gem_status run_confined(struct job *job, gem_confined_fn *run, gem_parcel_fn *on_parcel, void *user,
                               gem_error *err)
{
    const struct gem_confinement c = {.name = job->name,
                                      .keep = job->input.bytes ? -1 : job->input.fd,
                                      .max_parcel = GEM_IMAGE_MAX_PIXELS * 3,
                                      .run = run,
                                      .context = job,
                                      .on_parcel = on_parcel,
                                      .user = user};

    return gem_confine(&c, err);
}

gem_status gem_video_read(const struct gem_video_request *q, gem_frame_fn *on_frame, void *user, gem_error *err)
{
    struct viewer viewer = {.name = q->name, .on_frame = on_frame, .user = user};
    struct job job = {.name = q->name, .request = q, .input = {.bytes = q->bytes, .n = (int64_t)q->n_bytes}};
    struct gem_map map = {0};
    gem_status st;

    if (q->path && (st = gem_map_open(&map, q->path, err))) return st;
    if (q->path) job.input = (struct input){.fd = map.fd - 1, .n = (int64_t)map.n_bytes};
    st = run_confined(&job, decode_video, take_parcel, &viewer, err);
    gem_map_close(&map);
    return st;
}

bool gem_ffmpeg_is_built_in(void) { return true; }

/* ---- pictures ---------------------------------------------------------------------------------------------------- */

static gem_status decode_image(void *context, const struct gem_outlet *out, gem_error *err)
{
    const struct job *job = context;
    struct reader r = {.name = job->name, .err = err, .input = job->input};
    struct gem_image image = {0};
    bool end = false;
    gem_status st;

    if (!(st = open_format(&r)) && !(st = open_codec(&r, AVMEDIA_TYPE_VIDEO)) && !(st = next_frame(&r, &end)))
        st = end ? gem_fail(err, GEM_E_FORMAT, 0, "%s: no picture in it", job->name) : take_frame(&r, &image);
    if (!st) st = send_image(out, job->name, &image, 0, err);
    gem_image_close(&image);
    close_reader(&r);
    return st;
}

static gem_status keep_image(void *user, const struct gem_image *image, double seconds, gem_error *err)
{
    struct gem_image *out = user;
    gem_status st;

    (void)seconds;
    gem_image_close(out);
    if ((st = gem_image_make(out, "an image", image->width, image->height, err))) return st;
    memcpy(out->rgb, image->rgb, (size_t)image->width * image->height * 3);
    return GEM_OK;
}

gem_status gem_ffmpeg_image(struct gem_image *image, const char *name, const void *bytes, size_t n, gem_error *err)
{
    struct viewer viewer = {.name = name, .on_frame = keep_image, .user = image};
    struct job job = {.name = name, .input = {.bytes = bytes, .n = (int64_t)n}};
    gem_status st;

    *image = (struct gem_image){0};
    st = run_confined(&job, decode_image, take_parcel, &viewer, err);
    if (!st && !image->rgb) st = gem_fail(err, GEM_E_FORMAT, 0, "%s: no picture in it", name);
    if (st) gem_image_close(image);
    return st;
}

/* ---- sound ------------------------------------------------------------------------------------------------------- */

/* The mean of the channels, as far as the stream has been decoded. */
struct mono {
    const char *name;
    float *data;
    uint64_t n, cap;
    uint32_t rate;
};

static double sample_at(const AVFrame *f, int channel, int i)
{
    const bool planar = av_sample_fmt_is_planar((enum AVSampleFormat)f->format);
    const void *p = f->extended_data[planar ? channel : 0];
    const size_t at = planar ? (size_t)i : (size_t)i * (size_t)f->ch_layout.nb_channels + (size_t)channel;

    switch (av_get_packed_sample_fmt((enum AVSampleFormat)f->format)) {
    case AV_SAMPLE_FMT_U8: return (((const uint8_t *)p)[at] - 128) / 128.0;
    case AV_SAMPLE_FMT_S16: return ((const int16_t *)p)[at] / 32768.0;
    case AV_SAMPLE_FMT_S32: return ((const int32_t *)p)[at] / 2147483648.0;
    case AV_SAMPLE_FMT_S64: return (double)((const int64_t *)p)[at] / 9223372036854775808.0;
    case AV_SAMPLE_FMT_FLT: return (double)((const float *)p)[at];
    case AV_SAMPLE_FMT_DBL: return ((const double *)p)[at];
    default: return NAN; /* which is refused */
    }
}

/* The mean of the channels of a decoded frame; parcel->n_bytes of it in `mono`. */
static gem_status mix(const struct reader *r, float *mono, struct gem_parcel *parcel)
{
    const AVFrame *f = r->frame;
    const int n_channels = f->ch_layout.nb_channels;

    if (f->nb_samples < 0 || f->nb_samples > MAX_FRAME_SAMPLES || n_channels < 1 || f->sample_rate < 1)
        return gem_fail(r->err, GEM_E_FORMAT, 0, "%s: %d samples of %d channels at %d Hz", r->name, f->nb_samples,
                        n_channels, f->sample_rate);
    for (int i = 0; i < f->nb_samples; i++) {
        double sum = 0;
        for (int c = 0; c < n_channels; c++) sum += sample_at(f, c, i);
        mono[i] = (float)(sum / n_channels);
    }
    *parcel = (struct gem_parcel){.rate = (uint32_t)f->sample_rate, .n_bytes = (uint64_t)f->nb_samples * sizeof *mono};
    return GEM_OK;
}

static gem_status decode_sound(void *context, const struct gem_outlet *out, gem_error *err)
{
    const struct job *job = context;
    struct reader r = {.name = job->name, .err = err, .input = job->input};
    struct gem_parcel parcel;
    bool end = false;
    gem_status st = GEM_E_NOMEM;
    float *mono = gem_alloc_aligned(MAX_FRAME_SAMPLES * sizeof *mono, "sound", err);

    if (!mono || (st = open_format(&r)) || (st = open_codec(&r, AVMEDIA_TYPE_AUDIO))) goto out;
    while (!(st = next_frame(&r, &end)) && !end && !(st = mix(&r, mono, &parcel))) {
        if (!gem_outlet_send(out, &parcel, mono)) {
            st = lost(job->name, err);
            break;
        }
        av_frame_unref(r.frame);
    }
out:
    close_reader(&r);
    gem_free(mono);
    return st;
}

static gem_status make_room(struct mono *m, uint64_t more, gem_error *err)
{
    const uint64_t cap = m->n + more > 2 * m->cap ? m->n + more : 2 * m->cap;
    float *data;

    if (m->n + more <= m->cap) return GEM_OK;
    if ((m->n + more) / m->rate > GEM_SOUND_MAX / GEM_SOUND_RATE)
        return gem_fail(err, GEM_E_LIMIT, 0, "%s: more than %llu seconds of sound are not supported", m->name,
                        (unsigned long long)(GEM_SOUND_MAX / GEM_SOUND_RATE));
    if (!(data = gem_realloc(m->data, cap, sizeof *data, "sound", err))) return GEM_E_NOMEM;
    m->data = data;
    m->cap = cap;
    return GEM_OK;
}

static gem_status take_samples(void *user, const struct gem_parcel *p, const void *data, gem_error *err)
{
    struct mono *m = user;
    const uint64_t n = p->n_bytes / sizeof *m->data;
    gem_status st;

    if (p->rate < GEM_RATE_MIN || p->rate > GEM_RATE_MAX)
        return gem_fail(err, GEM_E_UNSUPPORTED, 0, "%s: a sample rate of %u Hz is not supported, only %d to %d",
                        m->name, p->rate, GEM_RATE_MIN, GEM_RATE_MAX);
    if ((m->n > 0 && p->rate != m->rate) || p->n_bytes % sizeof *m->data)
        return gem_fail(err, GEM_E_FORMAT, 0, "%s: its sample rate changes from %u to %u Hz", m->name, m->rate,
                        p->rate);
    m->rate = p->rate;
    if ((st = make_room(m, n, err))) return st;
    if (n) memcpy(m->data + m->n, data, p->n_bytes);
    m->n += n;
    return GEM_OK;
}

gem_status gem_ffmpeg_sound(struct gem_sound *s, const char *name, const char *path, const void *bytes, uint64_t n,
                            gem_error *err)
{
    struct job job = {.name = name, .input = {.bytes = bytes, .n = (int64_t)n}};
    struct mono mono = {.name = name};
    struct gem_map map = {0};
    gem_status st;

    *s = (struct gem_sound){0};
    if (path && (st = gem_map_open(&map, path, err))) return st;
    if (path) job.input = (struct input){.fd = map.fd - 1, .n = (int64_t)map.n_bytes};
    st = run_confined(&job, decode_sound, take_samples, &mono, err);
    if (!st) st = gem_sound_from_pcm(s, name, mono.data, mono.n, 1, mono.rate ? mono.rate : GEM_SOUND_RATE, err);
    gem_map_close(&map);
    gem_free(mono.data);
    return st;
}
#else
typedef int gem_no_ffmpeg; /* a file must not be empty */
#endif
