SELECT forget_v1(), forget_attempts_v1()
