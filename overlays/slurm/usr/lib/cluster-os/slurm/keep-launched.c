/* SPDX-License-Identifier: Apache-2.0
 *
 * Loaded into slurmd by LD_PRELOAD: a job that runs already is no failed launch.
 *
 * A controller that was lost may have begun a job, and not have written down yet that it did. The next one begins it
 * once more. slurmd launches no second copy, which is right, and calls that a failure: the controller then drains the
 * machine, kills the job, and holds it (_rpc_batch_job in src/slurmd/slurmd/req.c, SLURM 24.11). Here it is told that
 * the job is launched, as it is, and nothing else.
 */

typedef unsigned int pthread_key_t;
int pthread_key_create(pthread_key_t *key, void (*destructor)(void *));
int pthread_setspecific(pthread_key_t key, const void *value);
void *pthread_getspecific(pthread_key_t key);
void *dlsym(void *handle, const char *name);

#define RTLD_NEXT ((void *)-1L)
#define SLURM_SUCCESS 0

static const char said[] = "Job %u already running, do not launch second copy";
/* Whether this thread has refused a second copy, and has not answered yet. */
static pthread_key_t refused;
static void *next_error;
static int (*next_answer)(void *message, int code);
static int (*next_tell)(void *message, int *code, void *cluster);

__attribute__((constructor)) static void begin(void)
{
        pthread_key_create(&refused, 0);
        next_error = dlsym(RTLD_NEXT, "error");
        next_answer = dlsym(RTLD_NEXT, "slurm_send_rc_msg");
        next_tell = dlsym(RTLD_NEXT, "slurm_send_recv_controller_rc_msg");
}

void keep_launched_note(const char *format)
{
        unsigned i;

        for (i = 0; i < sizeof(said); i++)
                if (format[i] != said[i])
                        return;
        pthread_setspecific(refused, said);
}

/* error(format, ...): its arguments are of SLURM's own formats, so they are passed on as they are. */
__asm__(".globl error\n"
        "error:\n"
        "push %rdi\n push %rsi\n push %rdx\n push %rcx\n push %r8\n push %r9\n push %rax\n"
        "call keep_launched_note\n"
        "pop %rax\n pop %r9\n pop %r8\n pop %rcx\n pop %rdx\n pop %rsi\n pop %rdi\n"
        "jmp *next_error(%rip)\n");

int slurm_send_rc_msg(void *message, int code)
{
        if (pthread_getspecific(refused)) {
                pthread_setspecific(refused, 0);
                code = SLURM_SUCCESS;
        }
        return next_answer(message, code);
}

int slurm_send_recv_controller_rc_msg(void *message, int *code, void *cluster)
{
        if (pthread_getspecific(refused))
                return *code = SLURM_SUCCESS;
        return next_tell(message, code, cluster);
}
